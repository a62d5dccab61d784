//! What happened on a port within one step.

use monitor_ledger::PortState;

/// What the counters of a port grew by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    pub(super) packets_in: u64,
    pub(super) packets_out: u64,
    pub(super) binds: u64,
    pub(super) binds_refused: u64,
}

impl Growth {
    pub(super) fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// A part of it: one of `parts` equal ones, or what is left behind the others for the last.
    pub(super) fn part(&self, parts: u64, is_last: bool) -> Self {
        let of =
            |whole: u64| if is_last { whole - whole / parts * (parts - 1) } else { whole / parts };
        Self {
            packets_in: of(self.packets_in),
            packets_out: of(self.packets_out),
            binds: of(self.binds),
            binds_refused: of(self.binds_refused),
        }
    }
}

/// One step. Numbers that do not fit stop at the largest that does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) packets_in: u32,
    pub(super) packets_out: u32,
    pub(super) binds: u32,
    pub(super) binds_refused: u32,
    /// The highest state within the step.
    pub(super) state: PortState,
}

impl Bucket {
    pub(super) fn of_state(state: PortState) -> Self {
        Self { state, ..Self::default() }
    }

    pub(super) fn is_idle(&self) -> bool {
        *self == Self::of_state(PortState::Quiet)
    }

    pub(super) fn add(&mut self, growth: &Growth) {
        let add =
            |to: &mut u32, by: u64| *to = to.saturating_add(u32::try_from(by).unwrap_or(u32::MAX));
        add(&mut self.packets_in, growth.packets_in);
        add(&mut self.packets_out, growth.packets_out);
        add(&mut self.binds, growth.binds);
        add(&mut self.binds_refused, growth.binds_refused);
    }

    /// Both as one step.
    pub(super) fn joined(self, other: &Self) -> Self {
        Self {
            packets_in: self.packets_in.saturating_add(other.packets_in),
            packets_out: self.packets_out.saturating_add(other.packets_out),
            binds: self.binds.saturating_add(other.binds),
            binds_refused: self.binds_refused.saturating_add(other.binds_refused),
            state: self.state.max(other.state),
        }
    }
}
