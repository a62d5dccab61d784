//! The formats of the exposition, and which of them a client asks for.

/// A format of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics 1.0, with the time at which each counter began.
    OpenMetrics,
}

impl ExpositionFormat {
    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that a value of `Accept` prefers (RFC 9110, section 12.5.1): OpenMetrics if it is named,
    /// in a version that is written here, and nothing that the text format serves has a greater weight.
    pub fn from_accept(accept: &str) -> Self {
        let (mut text, mut open_metrics) = (0, 0);
        for range in accept.split(',').filter_map(MediaRange::parse) {
            match range.media_type {
                "application/openmetrics-text" if range.has_version(&["1.0.0", "0.0.1"]) => {
                    open_metrics = open_metrics.max(range.weight);
                }
                "text/plain" if range.has_version(&["0.0.4"]) => text = text.max(range.weight),
                _ => {}
            }
        }
        if open_metrics > 0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }
}

/// A member of the list of `Accept`.
struct MediaRange<'a> {
    media_type: &'a str,
    version: Option<&'a str>,
    /// The weight, thousandths.
    weight: u16,
}

impl<'a> MediaRange<'a> {
    /// `None` for a member whose weight cannot be read.
    fn parse(member: &'a str) -> Option<Self> {
        let mut parts = member.split(';').map(str::trim);
        let media_type = parts.next()?;
        let mut range = Self { media_type, version: None, weight: 1000 };
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            match name.trim() {
                "version" => range.version = Some(value.trim().trim_matches('"')),
                "q" => range.weight = weight(value.trim())?,
                _ => {}
            }
        }
        Some(range)
    }

    /// Whether it asks for one of these versions, or for none.
    fn has_version(&self, versions: &[&str]) -> bool {
        self.version.is_none_or(|version| versions.contains(&version))
    }
}

/// A weight in thousandths; `None` outside 0 to 1.
fn weight(text: &str) -> Option<u16> {
    let weight: f32 = text.parse().ok()?;
    (0.0..=1.0).contains(&weight).then(|| (weight * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_weights_of_accept() {
        // What Prometheus 3.5 sends.
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,\
            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            (prometheus, ExpositionFormat::OpenMetrics),
            ("application/openmetrics-text", ExpositionFormat::OpenMetrics),
            (
                "application/openmetrics-text; version=1.0.0, text/plain",
                ExpositionFormat::OpenMetrics,
            ),
            ("application/openmetrics-text; version=\"1.0.0\"", ExpositionFormat::OpenMetrics),
            ("application/openmetrics-text; q=0.3, text/plain; q=0.4", ExpositionFormat::Text),
            ("application/openmetrics-text; q=0", ExpositionFormat::Text),
            ("application/openmetrics-text; q=2", ExpositionFormat::Text),
            ("application/openmetrics-text; version=2.0.0", ExpositionFormat::Text),
            ("text/plain; version=0.0.4", ExpositionFormat::Text),
            ("*/*", ExpositionFormat::Text),
            ("", ExpositionFormat::Text),
            (";q=,,;;", ExpositionFormat::Text),
        ] {
            assert_eq!(ExpositionFormat::from_accept(accept), format, "{accept}");
        }
    }
}
