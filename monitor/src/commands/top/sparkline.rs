//! The last hour of a port in one line of characters.

use jiff::Timestamp;

use crate::api::history::{History, Series};

/// Levels from the least to the most.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Nothing came in this time.
const NONE: char = '·';

/// Length of what is shown, milliseconds.
const HOUR: i64 = 3_600_000;

/// Which packets are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
    Both,
}

/// The last hour in so many characters, the newest last. It is blank where nothing is known.
pub(super) fn sparkline(history: &History, width: usize, direction: Direction) -> String {
    let sums = sums(history, width, direction);
    let most = sums.iter().flatten().copied().max().unwrap_or(0);
    let level = |packets: u64| match packets {
        0 => NONE,
        // By the square root, so that single packets show beside thousands.
        packets => {
            let share = (packets as f64 / most.max(1) as f64).sqrt();
            LEVELS[((share * 8.0).ceil() as usize).clamp(1, 8) - 1]
        }
    };
    sums.into_iter().map(|sum| sum.map_or(' ', level)).collect()
}

/// Packets by column; `None` before the first step.
fn sums(history: &History, width: usize, direction: Direction) -> Vec<Option<u64>> {
    let mut sums = vec![None; width];
    for (begin, packets) in history.series.iter().flat_map(|series| steps(series, direction)) {
        let ago = history.until.as_millisecond() - begin.as_millisecond();
        let column = (HOUR - ago).max(0) as usize * width / HOUR as usize;
        if let Some(sum) = sums.get_mut(column) {
            *sum = Some(sum.unwrap_or(0) + packets);
        }
    }
    sums
}

/// Each step with its beginning.
fn steps(series: &Series, direction: Direction) -> impl Iterator<Item = (Timestamp, u64)> + '_ {
    let both = series.packets_in.iter().zip(&series.packets_out);
    both.enumerate().map(move |(i, (received, sent))| {
        let offset = i as i64 * 1000 * i64::from(series.step_seconds);
        let begin = Timestamp::from_millisecond(series.since.as_millisecond() + offset);
        let packets = match direction {
            Direction::In => u64::from(*received),
            Direction::Out => u64::from(*sent),
            Direction::Both => u64::from(*received) + u64::from(*sent),
        };
        (begin.unwrap_or(series.since), packets)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An hour that begins with packets in, and ends with some out.
    pub(in crate::commands::top) fn history(port: u16) -> History {
        let time = |second: i64| Timestamp::from_second(1_763_700_000 + second).expect("a time");
        let series = |step_seconds, since, packets_in: Vec<u32>, packets_out| Series {
            step_seconds,
            since: time(since),
            packets_in,
            packets_out,
            binds: vec![],
            binds_refused: vec![],
        };
        let mut steps = vec![0; 330];
        steps[0] = 100;
        steps[165] = 25;
        let mut seconds = vec![0; 300];
        seconds[299] = 400;
        History {
            port,
            until: time(3600),
            series: vec![
                series(10, 0, steps, vec![0; 330]),
                series(1, 3300, vec![0; 300], seconds),
            ],
            states: vec![],
        }
    }

    #[test]
    fn an_hour_is_drawn_by_the_root_of_its_packets() {
        let history = history(7);
        assert_eq!(sparkline(&history, 12, Direction::Both), "▄····▂·····█");
        assert_eq!(sparkline(&history, 12, Direction::In), "█····▄······");
        assert_eq!(sparkline(&history, 12, Direction::Out), "···········█");
    }

    #[test]
    fn it_is_blank_before_the_first_step() {
        let mut history = history(7);
        history.series.remove(0);
        assert_eq!(sparkline(&history, 12, Direction::Both), "           █");
        history.series.clear();
        assert_eq!(sparkline(&history, 4, Direction::Both), "    ");
    }
}
