//! The terminal: set up, restored, and read from.

use std::{
    io::{self, stdout},
    panic, thread,
    time::Duration,
};

use jiff::Timestamp;
use ratatui::{
    DefaultTerminal,
    crossterm::{
        cursor::Show,
        event::{
            self, DisableMouseCapture, EnableMouseCapture, Event, KeyCode, KeyEvent, KeyEventKind,
            KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
        },
        execute,
    },
};
use tokio::sync::mpsc;

use super::{command::Command, model::Model, view};

/// How often the thread that reads keys checks that its receiver exists.
const LOOK_UP: Duration = Duration::from_millis(200);

/// Rows of a page.
const PAGE: isize = 10;

/// Rows of a step of the mouse's wheel.
const WHEEL: isize = 3;

/// The terminal, which is restored on drop and on panic.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    in_colour: bool,
}

impl Screen {
    pub(super) fn open(in_colour: bool) -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        // ratatui's hook, which this one calls, restores the rest.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let _ = execute!(stdout(), DisableMouseCapture, Show);
            hook(info);
        }));
        execute!(stdout(), EnableMouseCapture)?;
        Ok(Self { terminal, in_colour })
    }

    pub(super) fn draw(&mut self, model: &mut Model) -> io::Result<()> {
        let now = Timestamp::now();
        self.terminal.draw(|frame| view::draw(frame, model, now, self.in_colour)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(stdout(), DisableMouseCapture);
        let _ = self.terminal.show_cursor();
        // A failure cannot be reported any more.
        let _ = ratatui::try_restore();
    }
}

/// What the keyboard asks for; `None` where the screen is to be drawn again.
pub(super) fn inputs() -> io::Result<mpsc::Receiver<Option<Command>>> {
    let (sender, receiver) = mpsc::channel(64);
    thread::Builder::new().name("keys".into()).spawn(move || {
        while !sender.is_closed() {
            let input = match event::poll(LOOK_UP) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let input = match input {
                Ok(Event::Key(key)) => command(key).map(Some),
                Ok(Event::Mouse(mouse)) => of_mouse(mouse).map(Some),
                Ok(Event::Resize(..)) => Some(None),
                Ok(_) => None,
                // The terminal is gone.
                Err(_) => Some(Some(Command::Quit)),
            };
            if let Some(input) = input
                && sender.blocking_send(input).is_err()
            {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// What a key means. While a filter is entered, [`Model::handle`] takes letters for its text.
fn command(key: KeyEvent) -> Option<Command> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Command::Quit);
    }
    Some(match key.code {
        KeyCode::Esc => Command::Back,
        KeyCode::Up => Command::Move(-1),
        KeyCode::Down => Command::Move(1),
        KeyCode::PageUp => Command::Move(-PAGE),
        KeyCode::PageDown => Command::Move(PAGE),
        KeyCode::Home => Command::First,
        KeyCode::End => Command::Last,
        KeyCode::Enter => Command::Enter,
        KeyCode::Tab => Command::Switch,
        KeyCode::Backspace => Command::Erase,
        KeyCode::Char(character) => Command::Type(character),
        _ => return None,
    })
}

/// What the mouse means.
const fn of_mouse(mouse: MouseEvent) -> Option<Command> {
    match mouse.kind {
        MouseEventKind::ScrollUp => Some(Command::Move(-WHEEL)),
        MouseEventKind::ScrollDown => Some(Command::Move(WHEEL)),
        MouseEventKind::Down(MouseButton::Left) => Some(Command::Click(mouse.column, mouse.row)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::top::command::letter_command;

    #[test]
    fn keys_have_the_meaning_in_the_last_line() {
        let plain = |code| command(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(plain(KeyCode::Up), Some(Command::Move(-1)));
        assert_eq!(plain(KeyCode::Esc), Some(Command::Back));
        assert_eq!(plain(KeyCode::Char('s')), Some(Command::Type('s')));
        assert_eq!(plain(KeyCode::F(1)), None);
        let letters = [('q', Command::Quit), ('s', Command::Sort), ('r', Command::Reverse)];
        for (letter, meaning) in letters {
            assert_eq!(letter_command(letter), Some(meaning));
        }
        assert_eq!(letter_command('x'), None);
        let control = |code| command(KeyEvent::new(code, KeyModifiers::CONTROL));
        assert_eq!(control(KeyCode::Char('c')), Some(Command::Quit));
        assert_eq!(control(KeyCode::Char('s')), None);
    }

    #[test]
    fn the_wheel_scrolls_and_a_press_selects() {
        let mouse = |kind| MouseEvent { kind, column: 3, row: 7, modifiers: KeyModifiers::NONE };
        assert_eq!(of_mouse(mouse(MouseEventKind::ScrollUp)), Some(Command::Move(-WHEEL)));
        let press = MouseEventKind::Down(MouseButton::Left);
        assert_eq!(of_mouse(mouse(press)), Some(Command::Click(3, 7)));
        assert_eq!(of_mouse(mouse(MouseEventKind::Moved)), None);
    }
}
