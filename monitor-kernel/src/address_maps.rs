//! The addresses of this host in the maps of the kernel side.
//!
//! Programs read one of two tables without a lock. The other one is filled when no program reads it
//! any more, then one word exchanges them: a program finds either all addresses of before or all of
//! after.

use std::{collections::BTreeSet, net::IpAddr};

use aya::maps::{Array, LpmTrie, MapData, lpm_trie::Key};
use monitor_common::{
    addresses::{
        AddressControl, AddressKey, AddressTable, Addresses, PREFIX_FAMILY_BITS, PrefixData,
        whole_prefix,
    },
    limits::MAX_LOCAL_PREFIXES,
};

use crate::{
    local_addresses::LocalAddresses,
    map_error::{CountersError, take},
    sections::{ADDRESSES, AddressWords},
};

type Result<T> = std::result::Result<T, CountersError>;

/// A prefix in the map: its length in bits, and its data.
type Prefix = (u32, PrefixData);

/// The maps behind the addresses of this host.
pub struct AddressMaps {
    section: Array<MapData, AddressWords>,
    prefixes: LpmTrie<MapData, PrefixData, u32>,
    /// What the map of prefixes holds.
    held: BTreeSet<Prefix>,
}

impl AddressMaps {
    /// Takes the maps of a loaded object, which may be those of an earlier agent.
    pub fn open(object: &mut aya::Ebpf) -> Result<Self> {
        let prefixes = LpmTrie::try_from(take(object, "LOCAL_PREFIXES")?)?;
        let held = prefixes.keys().map(|key| key.map(|key| (key.prefix_len(), key.data())));
        Ok(Self {
            held: held.collect::<std::result::Result<_, _>>()?,
            prefixes,
            section: Array::try_from(take(object, ADDRESSES)?)?,
        })
    }

    /// Puts these addresses in force. `wait` returns when every program has ended that runs as it is
    /// called. After an error the previous addresses stay in force.
    pub fn set(
        &mut self,
        local: &LocalAddresses,
        mut wait: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let (table, prefixes) = table_and_prefixes(local);
        if prefixes.len() > MAX_LOCAL_PREFIXES as usize {
            return Err(CountersError::TooManyPrefixes(prefixes.len()));
        }
        for prefix in prefixes.difference(&self.held.clone()) {
            self.prefixes.insert(&key(prefix), 1, 0)?;
            self.held.insert(*prefix);
        }
        let mut section: Box<AddressWords> = Box::new(self.section.get(&0, 0)?);
        let addresses: &mut Addresses = bytemuck::cast_mut(&mut *section);
        let previous = AddressControl::from_word(addresses.control);
        let next = AddressControl {
            table: 1 - previous.table,
            is_complete: true,
            has_prefixes: !prefixes.is_empty(),
        };
        addresses.tables[next.table as usize] = table;
        let control = next.to_word();
        // No program reads the table that was in use before the last exchange.
        wait()?;
        self.section.set(0, *section, 0)?;
        // The table is written before the word that puts it in force.
        wait()?;
        bytemuck::cast_mut::<AddressWords, Addresses>(&mut section).control = control;
        self.section.set(0, *section, 0)?;
        self.remove_all_but(&prefixes, wait)
    }

    /// Removes prefixes that are no longer local, when no program reads the table in which addresses
    /// of them may now be.
    fn remove_all_but(
        &mut self,
        prefixes: &BTreeSet<Prefix>,
        mut wait: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let stale: Vec<Prefix> = self.held.difference(prefixes).copied().collect();
        if stale.is_empty() {
            return Ok(());
        }
        wait()?;
        for prefix in stale {
            self.prefixes.remove(&key(&prefix))?;
            self.held.remove(&prefix);
        }
        Ok(())
    }
}

/// The table of addresses, and what is not in it: networks, and addresses for which it has no place.
fn table_and_prefixes(local: &LocalAddresses) -> (AddressTable, BTreeSet<Prefix>) {
    let mut table = AddressTable::EMPTY;
    let keys = local.addresses.iter().map(|address| AddressKey::from(*address));
    let left = keys.filter_map(|key| table.insert(key));
    let mut prefixes: BTreeSet<Prefix> = left
        .map(|key| {
            let data = key.prefix_data();
            (whole_prefix(&data), data)
        })
        .collect();
    // The programs know 127.0.0.0/8 without a lookup.
    let networks =
        local.networks.iter().filter(|(network, length)| !is_loopback(*network, *length));
    prefixes.extend(networks.map(|(network, length)| {
        let data = AddressKey::from(*network).prefix_data();
        (PREFIX_FAMILY_BITS + u32::from(*length), data)
    }));
    (table, prefixes)
}

fn is_loopback(network: IpAddr, length: u8) -> bool {
    network.is_ipv4() && network.is_loopback() && length >= 8
}

fn key((length, data): &Prefix) -> Key<PrefixData> {
    Key::new(*length, *data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_cannot_hold_is_a_prefix() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let local = LocalAddresses {
            addresses: [address("192.0.2.1"), address("2001:db8::1")].into(),
            networks: [
                (address("127.0.0.0"), 8),
                (address("10.0.0.0"), 8),
                (address("2001:db8:1::"), 48),
            ]
            .into(),
        };
        let (table, prefixes) = table_and_prefixes(&local);
        for held in ["192.0.2.1", "2001:db8::1"] {
            assert!(table.contains(address(held).into()), "{held}");
        }
        let lengths: BTreeSet<u32> = prefixes.iter().map(|(length, _)| *length).collect();
        assert_eq!(lengths, [32 + 8, 32 + 48].into());
        let many = LocalAddresses {
            addresses: (0..5000)
                .map(|number| IpAddr::from(std::net::Ipv4Addr::from(number)))
                .collect(),
            ..LocalAddresses::default()
        };
        let (table, prefixes) = table_and_prefixes(&many);
        for address in &many.addresses {
            let key = AddressKey::from(*address);
            let whole = (whole_prefix(&key.prefix_data()), key.prefix_data());
            assert!(table.contains(key) || prefixes.contains(&whole), "{address}");
        }
    }
}
