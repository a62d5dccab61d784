//! The saved form of a day: sections, each with its number and its length, of numbers in as few bytes as
//! they take (LEB128). A reader skips sections that it does not know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use monitor_common::{
    flow::Traffic,
    sources::{REGISTERS, Sketch},
};

use super::{
    distinct::SeedTag,
    leaders::{Count, Entry, Leaders},
    record::{BindCount, Calls, DayRecord, Program, TalkerCount},
};

/// Bytes of a saved day at most.
pub const MAX_DAY_BYTES: usize = 4096;

/// The first byte. Another one is of a format that this build does not know.
const FORMAT: u8 = 1;

const TRAFFIC: u8 = 1;
const CALLS: u8 = 2;
const TIMES: u8 = 3;
const SKETCH: u8 = 4;
const TALKERS: u8 = 5;
const PROGRAMS: u8 = 6;
const VERDICTS: u8 = 7;
const STATES: u8 = 8;

/// Registers of a sketch that are written one by one; more are written all.
const FEW_REGISTERS: usize = 190;

/// A saved day cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record of a day is damaged")]
pub struct DamagedDay;

impl DayRecord {
    /// Its saved form, at most [`MAX_DAY_BYTES`]. Where it would be longer, programs with the fewest
    /// binds are counted among the others.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = self.encoded(&self.programs);
        if bytes.len() <= MAX_DAY_BYTES {
            return bytes;
        }
        let mut programs = self.programs.clone();
        loop {
            let fewer = programs.entries().len().saturating_sub(1);
            programs.trim(fewer);
            let bytes = self.encoded(&programs);
            if bytes.len() <= MAX_DAY_BYTES || programs.entries().len() == 0 {
                return bytes;
            }
        }
    }

    fn encoded<const N: usize>(&self, programs: &Leaders<Program, BindCount, N>) -> Vec<u8> {
        let mut out = vec![FORMAT];
        section(&mut out, TRAFFIC, |out| {
            let cells = self.traffic.as_flattened().as_flattened();
            for (index, cell) in
                (0_u8..).zip(cells).filter(|(_, cell)| **cell != Traffic::default())
            {
                out.push(index);
                number(out, cell.packets);
                number(out, cell.bytes);
            }
        });
        section(&mut out, CALLS, |out| {
            let fields = self.calls.iter().flat_map(Calls::fields);
            sparse(out, fields);
        });
        section(&mut out, TIMES, |out| {
            if let Some((first, last)) = self.packets_between {
                number(out, zigzag(first));
                number(out, zigzag(last));
            }
        });
        for (seed, sketch) in self.addresses.sketches() {
            section(&mut out, SKETCH, |out| {
                out.extend(seed.0.to_le_bytes());
                registers(out, sketch);
            });
        }
        leaders(&mut out, TALKERS, &self.talkers, address);
        leaders(&mut out, PROGRAMS, programs, |out, program| {
            text(out, &program.executable);
            text(out, &program.user);
        });
        leaders(&mut out, VERDICTS, &self.verdicts, |out, verdict| text(out, verdict));
        section(&mut out, STATES, |out| sparse(out, self.states.into_iter()));
        out
    }

    /// Reads the saved form.
    ///
    /// # Errors
    ///
    /// [`DamagedDay`] if it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DamagedDay> {
        let mut record = Self::default();
        let mut input = Input(bytes);
        if input.byte()? != FORMAT {
            return Err(DamagedDay);
        }
        while !input.0.is_empty() {
            let kind = input.byte()?;
            let len = usize::try_from(input.number()?).map_err(|_| DamagedDay)?;
            record.read_section(kind, Input(input.take(len)?))?;
        }
        Ok(record)
    }

    fn read_section(&mut self, kind: u8, mut input: Input<'_>) -> Result<(), DamagedDay> {
        match kind {
            TRAFFIC => {
                let cells = self.traffic.as_flattened_mut().as_flattened_mut();
                while !input.0.is_empty() {
                    let cell = cells.get_mut(usize::from(input.byte()?)).ok_or(DamagedDay)?;
                    *cell = Traffic { packets: input.number()?, bytes: input.number()? };
                }
            }
            CALLS => {
                let mut fields = [0; Calls::FIELDS * 4];
                input.sparse(&mut fields)?;
                let (rows, _) = fields.as_chunks();
                self.calls.iter_mut().zip(rows).for_each(|(calls, row)| {
                    *calls = Calls::of_fields(*row);
                });
            }
            TIMES if !input.0.is_empty() => {
                self.packets_between = Some((unzigzag(input.number()?), unzigzag(input.number()?)));
            }
            SKETCH => {
                let (seed, _) = input.take(4)?.as_chunks();
                let seed = SeedTag(u32::from_le_bytes(*seed.first().ok_or(DamagedDay)?));
                self.addresses.add(seed, &input.registers()?);
            }
            TALKERS => self.talkers = input.leaders(Input::address)?,
            PROGRAMS => {
                self.programs = input.leaders(|input| {
                    Ok(Program { executable: input.text()?, user: input.text()? })
                })?;
            }
            VERDICTS => self.verdicts = input.leaders(Input::text)?,
            STATES => input.sparse(&mut self.states)?,
            _ => {}
        }
        Ok(())
    }
}

/// A count as it is saved.
trait Saved: Count {
    fn write(&self, out: &mut Vec<u8>);
    fn read(input: &mut Input<'_>) -> Result<Self, DamagedDay>;
}

impl Saved for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        number(out, *self);
    }

    fn read(input: &mut Input<'_>) -> Result<Self, DamagedDay> {
        input.number()
    }
}

impl Saved for BindCount {
    fn write(&self, out: &mut Vec<u8>) {
        number(out, self.succeeded);
        number(out, self.refused);
    }

    fn read(input: &mut Input<'_>) -> Result<Self, DamagedDay> {
        Ok(Self { succeeded: input.number()?, refused: input.number()? })
    }
}

impl Saved for TalkerCount {
    fn write(&self, out: &mut Vec<u8>) {
        self.packets.into_iter().chain(self.bytes).for_each(|count| number(out, count));
    }

    fn read(input: &mut Input<'_>) -> Result<Self, DamagedDay> {
        Ok(Self {
            packets: [input.number()?, input.number()?],
            bytes: [input.number()?, input.number()?],
        })
    }
}

/// Writes a section, unless it is empty.
fn section(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    write(&mut body);
    if !body.is_empty() {
        out.push(kind);
        number(out, body.len() as u64);
        out.extend(body);
    }
}

fn leaders<K: Ord + Clone, V: Saved, const N: usize>(
    out: &mut Vec<u8>,
    kind: u8,
    leaders: &Leaders<K, V, N>,
    key: impl Fn(&mut Vec<u8>, &K),
) {
    if leaders.is_empty() {
        return;
    }
    section(out, kind, |out| {
        leaders.others().write(out);
        for (name, entry) in leaders.entries() {
            key(out, name);
            number(out, entry.weight);
            entry.count.write(out);
        }
    });
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

const fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// The numbers that are not 0, each behind its index.
fn sparse(out: &mut Vec<u8>, numbers: impl Iterator<Item = u64>) {
    for (index, value) in (0_u8..).zip(numbers).filter(|(_, value)| *value > 0) {
        out.push(index);
        number(out, value);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend(text.as_bytes());
}

fn address(out: &mut Vec<u8>, address: &IpAddr) {
    match address {
        IpAddr::V4(address) => {
            out.push(4);
            out.extend(address.octets());
        }
        IpAddr::V6(address) => {
            out.push(6);
            out.extend(address.octets());
        }
    }
}

/// The registers of a sketch: the few that are not 0 as words of nine bits for the index and six for the
/// value, or all of them with six bits each.
fn registers(out: &mut Vec<u8>, sketch: &Sketch) {
    let used = sketch.registers.iter().filter(|value| **value > 0).count();
    if used <= FEW_REGISTERS {
        for (index, value) in (0_u16..).zip(sketch.registers).filter(|(_, value)| *value > 0) {
            out.extend((index << 6 | u16::from(value & 63)).to_le_bytes());
        }
        return;
    }
    let (quadruples, _) = sketch.registers.as_chunks::<4>();
    for [a, b, c, d] in quadruples.iter().map(|four| four.map(|value| u32::from(value & 63))) {
        let [x, y, z, _] = (a | b << 6 | c << 12 | d << 18).to_le_bytes();
        out.extend([x, y, z]);
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DamagedDay> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(DamagedDay)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DamagedDay> {
        self.take(1).map(|byte| byte[0])
    }

    fn number(&mut self) -> Result<u64, DamagedDay> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DamagedDay)
    }

    fn sparse(&mut self, numbers: &mut [u64]) -> Result<(), DamagedDay> {
        while !self.0.is_empty() {
            let index = usize::from(self.byte()?);
            *numbers.get_mut(index).ok_or(DamagedDay)? = self.number()?;
        }
        Ok(())
    }

    fn text(&mut self) -> Result<String, DamagedDay> {
        let len = usize::try_from(self.number()?).map_err(|_| DamagedDay)?;
        let bytes = self.take(len)?.to_vec();
        String::from_utf8(bytes).map_err(|_| DamagedDay)
    }

    fn address(&mut self) -> Result<IpAddr, DamagedDay> {
        match self.byte()? {
            4 => Ok(Ipv4Addr::from(*self.array::<4>()?).into()),
            6 => Ok(Ipv6Addr::from(*self.array::<16>()?).into()),
            _ => Err(DamagedDay),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], DamagedDay> {
        self.take(N)?.try_into().map_err(|_| DamagedDay)
    }

    fn registers(&mut self) -> Result<Sketch, DamagedDay> {
        let mut sketch = Sketch::EMPTY;
        if self.0.len() <= FEW_REGISTERS * 2 {
            let (words, rest) = self.0.as_chunks::<2>();
            for word in words.iter().map(|word| u16::from_le_bytes(*word)) {
                let register =
                    sketch.registers.get_mut(usize::from(word >> 6)).ok_or(DamagedDay)?;
                *register = word as u8 & 63;
            }
            return if rest.is_empty() { Ok(sketch) } else { Err(DamagedDay) };
        }
        if self.0.len() != REGISTERS / 4 * 3 {
            return Err(DamagedDay);
        }
        let (triples, _) = self.0.as_chunks::<3>();
        let (quadruples, _) = sketch.registers.as_chunks_mut::<4>();
        for (four, [x, y, z]) in quadruples.iter_mut().zip(triples) {
            let word = u32::from_le_bytes([*x, *y, *z, 0]);
            *four = [0, 6, 12, 18].map(|shift| (word >> shift) as u8 & 63);
        }
        Ok(sketch)
    }

    fn leaders<K: Ord + Clone, V: Saved, const N: usize>(
        &mut self,
        key: impl Fn(&mut Self) -> Result<K, DamagedDay>,
    ) -> Result<Leaders<K, V, N>, DamagedDay> {
        let mut leaders = Leaders::default();
        leaders.add_others(&V::read(self)?);
        while !self.0.is_empty() {
            let key = key(self)?;
            leaders.insert(key, Entry { weight: self.number()?, count: V::read(self)? });
        }
        leaders.trim(N);
        Ok(leaders)
    }
}
