//! Styles. No meaning rests on a colour alone, and none on red beside green.

use ratatui::style::{Color, Modifier, Style};

use crate::api::alarm::Alarm;

/// The styles of a screen, with or without colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) in_colour: bool,
}

impl Theme {
    const fn coloured(self, style: Style, colour: Color) -> Style {
        if self.in_colour { style.fg(colour) } else { style }
    }

    pub(super) const fn alarm(self, alarm: Alarm) -> Style {
        match alarm {
            Alarm::Quiet => Style::new(),
            Alarm::Expected => self.coloured(Style::new(), Color::Cyan),
            Alarm::Warning => self.coloured(Style::new(), Color::Yellow),
            Alarm::Critical => {
                self.coloured(Style::new().add_modifier(Modifier::BOLD), Color::LightMagenta)
            }
        }
    }

    pub(super) fn severity(self, severity: Option<&str>) -> Style {
        self.alarm(match severity {
            Some("critical") => Alarm::Critical,
            Some("warning") => Alarm::Warning,
            _ => Alarm::Quiet,
        })
    }

    /// Of what is wrong with the agent or the connection.
    pub(super) const fn trouble(self) -> Style {
        self.alarm(Alarm::Critical)
    }

    /// Of the packets in a sparkline.
    pub(super) const fn trend(self) -> Style {
        self.coloured(Style::new(), Color::Blue)
    }
}

/// Headings.
pub(super) const HEADING: Style = Style::new().add_modifier(Modifier::BOLD);

/// What matters least.
pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
