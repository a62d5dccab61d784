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
        event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
        execute,
    },
};
use tokio::sync::mpsc;

use super::{
    model::{Command, Model},
    view,
};

/// How often the thread that reads keys checks that its receiver exists.
const LOOK_UP: Duration = Duration::from_millis(200);

/// Rows of a page.
const PAGE: isize = 10;

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
            let _ = execute!(stdout(), Show);
            hook(info);
        }));
        Ok(Self { terminal, in_colour })
    }

    pub(super) fn draw(&mut self, model: &Model) -> io::Result<()> {
        let now = Timestamp::now();
        self.terminal.draw(|frame| view::draw(frame, model, now, self.in_colour)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
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

/// What a key means.
fn command(key: KeyEvent) -> Option<Command> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Command::Quit);
    }
    Some(match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Command::Quit,
        KeyCode::Up | KeyCode::Char('k') => Command::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Command::Move(1),
        KeyCode::PageUp => Command::Move(-PAGE),
        KeyCode::PageDown => Command::Move(PAGE),
        KeyCode::Home => Command::First,
        KeyCode::End => Command::Last,
        KeyCode::Char('s') => Command::Sort,
        KeyCode::Char('r') => Command::Reverse,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_meaning_in_the_last_line() {
        let plain = |code| command(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(plain(KeyCode::Char('q')), Some(Command::Quit));
        assert_eq!(plain(KeyCode::Up), Some(Command::Move(-1)));
        assert_eq!(plain(KeyCode::Char('s')), Some(Command::Sort));
        assert_eq!(plain(KeyCode::Char('r')), Some(Command::Reverse));
        assert_eq!(plain(KeyCode::Char('x')), None);
        let control = |code| command(KeyEvent::new(code, KeyModifiers::CONTROL));
        assert_eq!(control(KeyCode::Char('c')), Some(Command::Quit));
        assert_eq!(control(KeyCode::Char('s')), None);
    }
}
