//! Which processes made calls.

/// Different processes, as many as there is room for.
#[derive(Clone, Debug, Default)]
pub(super) struct Processes(Vec<u64>);

impl Processes {
    /// Adds a process; false if it is known already, or if `most` are.
    pub(super) fn add(&mut self, process: u64, most: usize) -> bool {
        if self.0.contains(&process) || self.0.len() >= most {
            return false;
        }
        self.0.push(process);
        true
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
