//! The colours of meanings, which those who cannot tell red from green tell apart. None is the only
//! sign of what it means.

use anstyle::{AnsiColor, Style};

/// What a coloured text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Fine,
    /// Worth a look.
    Notice,
    /// Wrong.
    Alarm,
}

impl Tone {
    /// Of an owner that is expected, or not, or of which that is not known.
    pub(crate) const fn of_expected(expected: Option<bool>) -> Self {
        match expected {
            Some(true) => Self::Fine,
            Some(false) => Self::Alarm,
            None => Self::Notice,
        }
    }

    /// Of the severity of an event; `None` of one that only informs.
    pub(crate) fn of_severity(severity: Option<&str>) -> Option<Self> {
        match severity {
            Some("critical") => Some(Self::Alarm),
            Some("warning") => Some(Self::Notice),
            _ => None,
        }
    }

    pub(crate) const fn style(self) -> Style {
        match self {
            Self::Fine => AnsiColor::Cyan.on_default(),
            Self::Notice => AnsiColor::Yellow.on_default(),
            Self::Alarm => AnsiColor::Magenta.on_default().bold(),
        }
    }
}
