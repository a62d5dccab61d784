//! Space of a disk that is left to others.

use std::io::{self, ErrorKind};

use rustix::fs::StatVfs;

/// The most that is left to others where nothing else is configured.
const LARGEST_DEFAULT: u64 = 64 << 20;

/// The share of a disk that is left to others, one of so many, where that is less.
const DEFAULT_SHARE: u64 = 20;

/// How much of a disk is left to others: what would leave less is not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskReserve {
    /// 64 MiB, or a twentieth of the disk if that is less.
    #[default]
    Usual,
    /// So many bytes.
    Bytes(u64),
}

impl DiskReserve {
    /// Bytes of a disk of this size.
    const fn of(self, disk: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Usual if disk / DEFAULT_SHARE < LARGEST_DEFAULT => disk / DEFAULT_SHARE,
            Self::Usual => LARGEST_DEFAULT,
        }
    }
}

/// Keeps the reserve of the disk that a file is on.
#[derive(Debug)]
pub struct DiskGuard {
    reserve: DiskReserve,
    /// Whether the last attempt was refused.
    is_low: bool,
}

impl DiskGuard {
    /// Refuses nothing yet.
    pub const fn new(reserve: DiskReserve) -> Self {
        Self { reserve, is_low: false }
    }

    /// Leaves that much from now on.
    pub const fn set(&mut self, reserve: DiskReserve) {
        self.reserve = reserve;
    }

    /// Whether the last attempt was refused.
    pub const fn is_low(&self) -> bool {
        self.is_low
    }

    /// Fails if `coming` more bytes on this disk would leave less than the reserve. After a refusal an
    /// eighth more has to be free, so that a disk at the limit does not change its mind at every write.
    pub fn check(&mut self, disk: StatVfs, coming: u64) -> io::Result<()> {
        // Of a file system without a size, `f_blocks` is 0 (statvfs(3)).
        let reserve = self.reserve.of(disk.f_blocks.saturating_mul(disk.f_frsize));
        self.judge(reserve, disk.f_bavail.saturating_mul(disk.f_frsize), coming, disk.f_blocks == 0)
    }

    fn judge(
        &mut self,
        reserve: u64,
        free: u64,
        coming: u64,
        is_boundless: bool,
    ) -> io::Result<()> {
        let margin = if self.is_low { reserve / 8 } else { 0 };
        self.is_low = reserve > 0 && !is_boundless && free < reserve + margin + coming;
        if !self.is_low {
            return Ok(());
        }
        let kibibytes = reserve.div_ceil(1024);
        let message = format!("no more is free on its disk than the reserve of {kibibytes} KiB");
        Err(io::Error::new(ErrorKind::StorageFull, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_has_a_small_reserve() {
        assert_eq!(DiskReserve::Usual.of(20 << 10), 1 << 10);
        assert_eq!(DiskReserve::Usual.of(1 << 40), 64 << 20);
        assert_eq!(DiskReserve::Bytes(7).of(1 << 40), 7);
    }

    #[test]
    fn refuses_what_would_leave_less_than_the_reserve() {
        let mut guard = DiskGuard::new(DiskReserve::Bytes(800));
        let mut judge = |free, coming| guard.judge(800, free, coming, false).is_ok();
        assert!(judge(900, 100));
        assert!(!judge(899, 100));
        assert!(!judge(900, 100), "it takes an eighth more after a refusal");
        assert!(judge(1000, 100) && judge(900, 100));
        assert!(guard.judge(800, 0, 1, true).is_ok(), "a file system without a size");
        assert!(guard.judge(0, 0, 1, false).is_ok(), "no reserve");
    }
}
