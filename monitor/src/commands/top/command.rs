//! What keys and the mouse ask for.

/// What a key or the mouse asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    /// Back: from the help, the filter, the detail, or out of the program.
    Back,
    /// So many rows down, or up, in what has the focus.
    Move(isize),
    First,
    Last,
    Sort,
    Reverse,
    /// Stops the picture, or lets it go on.
    Pause,
    Help,
    /// Shows what listens on the host, or no longer does.
    Listeners,
    /// Shows one port with everything about it.
    Enter,
    /// Gives the focus to the events, or back to the ports.
    Switch,
    /// Begins to enter a filter.
    Filter,
    /// A letter: a character of the filter, or what [`letter_command`] says.
    Type(char),
    /// Takes the last character of the filter away; leaves the detail.
    Erase,
    /// A press of the mouse at a column and a row of the screen.
    Click(u16, u16),
}

/// What a letter means where no text is entered.
pub(super) const fn letter_command(letter: char) -> Option<Command> {
    Some(match letter {
        'q' => Command::Quit,
        'k' => Command::Move(-1),
        'j' => Command::Move(1),
        's' => Command::Sort,
        'r' => Command::Reverse,
        'p' | ' ' => Command::Pause,
        '?' | 'h' => Command::Help,
        '/' => Command::Filter,
        'l' => Command::Listeners,
        _ => return None,
    })
}
