//! The mark by which the kernel side recognizes the calls and packets of a selftest.

use std::{net::Ipv4Addr, time::Duration};

use aya::maps::{Array, MapData};
use monitor_common::{flow::Direction, selftest::SelftestMark};

use crate::{
    clock,
    map_error::{CountersError, take},
    sections::{SELFTEST, SelftestWords},
};

type Result<T> = std::result::Result<T, CountersError>;

/// The map that has the mark.
pub struct SelftestMap(Array<MapData, SelftestWords>);

impl SelftestMap {
    /// Takes the map of a loaded object. It holds no mark, even if an earlier agent left one.
    pub fn open(object: &mut aya::Ebpf) -> Result<Self> {
        Ok(Self(Array::try_from(take(object, SELFTEST)?)?))
    }

    /// Marks calls and packets at this address and port for the time of `limit`, and counts the
    /// packets from 0. `tgid` is the process whose calls are marked, by its number in the first pid
    /// namespace; `None` for every process.
    pub fn begin(
        &mut self,
        address: Ipv4Addr,
        port: u16,
        tgid: Option<u32>,
        limit: Duration,
    ) -> Result<()> {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let until = clock::boottime_ns().saturating_add(limit);
        let mark = SelftestMark::new(until, address.octets(), port, tgid.unwrap_or(0));
        // A program that reads half of it finds no mark: its end is 0 before.
        self.end()?;
        Ok(self.0.set(0, bytemuck::cast::<_, SelftestWords>(mark), 0)?)
    }

    /// Removes the mark.
    pub fn end(&mut self) -> Result<()> {
        Ok(self.0.set(0, bytemuck::cast::<_, SelftestWords>(SelftestMark::NONE), 0)?)
    }

    /// Packets with the mark that crossed an interface in this direction.
    pub fn packets(&self, direction: Direction) -> Result<u64> {
        let mark: SelftestMark = bytemuck::cast(self.0.get(&0, 0)?);
        Ok(mark.packets[direction as usize])
    }
}
