//! Classic BPF, as `SO_ATTACH_FILTER` takes it: an interpreter that decides whether a filter may
//! accept a packet of which only some bytes are known.
//!
//! The instruction set is that of McCanne and Jacobson, "The BSD Packet Filter", 1993, with Linux'
//! extensions (`Documentation/networking/filter.rst`, `include/uapi/linux/filter.h`). Where a jump
//! depends on a byte that is not known, such as an address, both ways are followed: a filter for one
//! host and one port may accept packets of that port.

use super::frame::Frame;

/// One instruction, `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Instruction {
    /// Operation.
    code: u16,
    /// Instructions to skip if a condition holds.
    jump_true: u8,
    /// Instructions to skip if it does not.
    jump_false: u8,
    /// Constant operand.
    operand: u32,
}

/// Bytes of an instruction in the kernel's answer.
const INSTRUCTION_LEN: usize = 8;

/// Cells of scratch memory, `BPF_MEMWORDS`.
const CELLS: usize = 16;

/// Most instructions of a program, `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;

/// A filter that a socket has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Filter(Vec<Instruction>);

/// Whether a filter accepts a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It accepts it, or there is a packet with the known bytes that it accepts.
    Accepts,
    /// It rejects every packet with the known bytes.
    Rejects,
    /// The program has an instruction that is not known, or too many ways.
    Unknown,
}

/// Instructions that may still be executed for one filter. Each jump on an unknown byte doubles the
/// ways through a program.
#[derive(Debug)]
pub(super) struct Budget(pub(super) u64);

impl Filter {
    /// Reads `struct sock_filter`s in the byte order of this machine, as `PACKET_DIAG_FILTER` carries
    /// them. `None` if they are no program: none, too many, or half an instruction.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let count = bytes.len() / INSTRUCTION_LEN;
        if !bytes.len().is_multiple_of(INSTRUCTION_LEN) || !(1..=MAX_INSTRUCTIONS).contains(&count)
        {
            return None;
        }
        let instruction = |bytes: &[u8]| {
            let &[c0, c1, jump_true, jump_false, k0, k1, k2, k3] = bytes else { return None };
            Some(Instruction {
                code: u16::from_ne_bytes([c0, c1]),
                jump_true,
                jump_false,
                operand: u32::from_ne_bytes([k0, k1, k2, k3]),
            })
        };
        bytes.chunks_exact(INSTRUCTION_LEN).map(instruction).collect::<Option<_>>().map(Self)
    }

    /// Whether the filter accepts a packet with the known bytes of `frame`.
    pub(super) fn answer(&self, frame: &Frame, budget: &mut Budget) -> Answer {
        let start = Machine { next: 0, a: Some(0), x: Some(0), cells: [Some(0); CELLS] };
        // Ways that are not followed yet.
        let mut ways = vec![start];
        while let Some(mut machine) = ways.pop() {
            loop {
                let Some(left) = budget.0.checked_sub(1) else { return Answer::Unknown };
                budget.0 = left;
                // Jumps go forward only, so each way ends.
                let Some(instruction) = self.0.get(machine.next) else { return Answer::Unknown };
                match machine.run(*instruction, frame) {
                    Step::Next => {}
                    Step::Fork(other) => ways.push(other),
                    Step::Return(Some(0)) => break,
                    Step::Return(_) => return Answer::Accepts,
                    Step::Unknown => return Answer::Unknown,
                }
            }
        }
        Answer::Rejects
    }
}

/// What an instruction does.
#[derive(Clone, Debug)]
enum Step {
    Next,
    /// Goes on, and there is another way to go on.
    Fork(Machine),
    /// Accepts so many bytes.
    Return(Option<u32>),
    Unknown,
}

/// The registers; `None` is a value that is not known.
#[derive(Clone, Debug)]
struct Machine {
    next: usize,
    a: Option<u32>,
    x: Option<u32>,
    cells: [Option<u32>; CELLS],
}

/// Fields of an operation, `include/uapi/linux/bpf_common.h`.
mod code {
    pub(super) const LD: u16 = 0x00;
    pub(super) const LDX: u16 = 0x01;
    pub(super) const ST: u16 = 0x02;
    pub(super) const STX: u16 = 0x03;
    pub(super) const ALU: u16 = 0x04;
    pub(super) const JMP: u16 = 0x05;
    pub(super) const RET: u16 = 0x06;
    pub(super) const CLASS: u16 = 0x07;
    pub(super) const SIZE: u16 = 0x18;
    pub(super) const MODE: u16 = 0xe0;
    pub(super) const IMM: u16 = 0x00;
    pub(super) const ABS: u16 = 0x20;
    pub(super) const IND: u16 = 0x40;
    pub(super) const MEM: u16 = 0x60;
    pub(super) const LEN: u16 = 0x80;
    pub(super) const MSH: u16 = 0xa0;
    pub(super) const OPERATION: u16 = 0xf0;
    pub(super) const X: u16 = 0x08;
    pub(super) const RETURN_VALUE: u16 = 0x18;
    pub(super) const RETURNS_A: u16 = 0x10;
    pub(super) const TXA: u16 = 0x80;
}

impl Machine {
    fn run(&mut self, instruction: Instruction, frame: &Frame) -> Step {
        let Instruction { code, operand, .. } = instruction;
        self.next += 1;
        match code & code::CLASS {
            code::LD | code::LDX => self.load(code, operand, frame),
            code::ST => self.store(operand, self.a),
            code::STX => self.store(operand, self.x),
            code::ALU => self.calculate(code, operand),
            code::JMP => self.jump(instruction),
            code::RET => {
                let returns_a = code & code::RETURN_VALUE == code::RETURNS_A;
                Step::Return(if returns_a { self.a } else { Some(operand) })
            }
            _ => {
                if code & code::TXA == 0 {
                    self.x = self.a;
                } else {
                    self.a = self.x;
                }
                Step::Next
            }
        }
    }

    fn load(&mut self, code: u16, operand: u32, frame: &Frame) -> Step {
        let size = match code & code::SIZE {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => return Step::Unknown,
        };
        let value = match code & code::MODE {
            code::IMM => Some(operand),
            code::ABS => frame.read(operand, size),
            code::IND => self.x.and_then(|x| frame.read(x.wrapping_add(operand), size)),
            code::MEM => match self.cells.get(operand as usize) {
                Some(cell) => *cell,
                None => return Step::Unknown,
            },
            // The length of a packet is not among what is known.
            code::LEN => None,
            // Four times the lower half of a byte: the length of an IPv4 header.
            code::MSH => frame.read(operand, 1).map(|byte| (byte & 0xf) * 4),
            _ => return Step::Unknown,
        };
        if code & code::CLASS == code::LD {
            self.a = value;
        } else {
            self.x = value;
        }
        Step::Next
    }

    fn store(&mut self, cell: u32, value: Option<u32>) -> Step {
        match self.cells.get_mut(cell as usize) {
            Some(cell) => {
                *cell = value;
                Step::Next
            }
            None => Step::Unknown,
        }
    }

    fn calculate(&mut self, code: u16, operand: u32) -> Step {
        const DIVIDE: u16 = 0x30;
        const REMAINDER: u16 = 0x90;
        let right = if code & code::X == 0 { Some(operand) } else { self.x };
        let operation = code & code::OPERATION;
        if matches!(operation, DIVIDE | REMAINDER) && right == Some(0) {
            // A division by zero rejects the packet.
            return Step::Return(Some(0));
        }
        let calculate: fn(u32, u32) -> u32 = match operation {
            0x00 => u32::wrapping_add,
            0x10 => u32::wrapping_sub,
            0x20 => u32::wrapping_mul,
            DIVIDE => |a, b| a.checked_div(b).unwrap_or(0),
            0x40 => |a, b| a | b,
            0x50 => |a, b| a & b,
            0x60 => |a, b| a.checked_shl(b).unwrap_or(0),
            0x70 => |a, b| a.checked_shr(b).unwrap_or(0),
            0x80 => |a, _| a.wrapping_neg(),
            REMAINDER => |a, b| a.checked_rem(b).unwrap_or(0),
            0xa0 => |a, b| a ^ b,
            _ => return Step::Unknown,
        };
        self.a = self.a.zip(right).map(|(a, b)| calculate(a, b));
        Step::Next
    }

    fn jump(&mut self, instruction: Instruction) -> Step {
        const EQUALS: u16 = 0x10;
        let Instruction { code, jump_true, jump_false, operand } = instruction;
        let right = if code & code::X == 0 { Some(operand) } else { self.x };
        let operation = code & code::OPERATION;
        let holds: fn(u32, u32) -> bool = match operation {
            0x00 => {
                self.next = self.next.saturating_add(operand as usize);
                return Step::Next;
            }
            EQUALS => |a, b| a == b,
            0x20 => |a, b| a > b,
            0x30 => |a, b| a >= b,
            0x40 => |a, b| a & b != 0,
            _ => return Step::Unknown,
        };
        let (yes, no) = (self.next + usize::from(jump_true), self.next + usize::from(jump_false));
        if let Some((a, b)) = self.a.zip(right) {
            self.next = if holds(a, b) { yes } else { no };
            return Step::Next;
        }
        let mut other = self.clone();
        other.next = yes;
        if operation == EQUALS && right.is_some() {
            other.a = right;
        }
        self.next = no;
        if yes == no { Step::Next } else { Step::Fork(other) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sockets::captures::{
        filters::{UDP_PORT_2948, program},
        frame::{Layer, Packet},
    };

    fn filter(instructions: &[(u16, u8, u8, u32)]) -> Filter {
        Filter::from_bytes(&program(instructions)).expect("a program")
    }

    fn answer(filter: &Filter, packet: Packet, layer: Layer) -> Answer {
        filter.answer(&Frame::new(packet, layer), &mut Budget(100_000))
    }

    fn datagram(port: u16) -> Packet {
        Packet::Ports { is_ipv6: false, protocol: 17, source: 50_001, destination: port }
    }

    #[test]
    fn runs_what_tcpdump_compiles() {
        let filter = filter(UDP_PORT_2948);
        for (port, expected) in [(2948, Answer::Accepts), (2949, Answer::Rejects)] {
            assert_eq!(answer(&filter, datagram(port), Layer::Link), expected, "{port}");
        }
        assert_eq!(answer(&filter, Packet::Ethernet(0x0806), Layer::Link), Answer::Rejects);
    }

    #[test]
    fn reads_by_layer() {
        const NETWORK: u32 = -0x10_0000_i32 as u32;
        const ANCILLARY: u32 = -0x1000_i32 as u32;
        let by_network =
            filter(&[(0x30, 0, 0, NETWORK + 9), (0x15, 0, 1, 17), (6, 0, 0, 1), (6, 0, 0, 0)]);
        let by_protocol =
            filter(&[(0x28, 0, 0, ANCILLARY), (0x15, 0, 1, 0x0800), (6, 0, 0, 1), (6, 0, 0, 0)]);
        for layer in [Layer::Link, Layer::Network] {
            assert_eq!(answer(&by_network, datagram(1), layer), Answer::Accepts);
            assert_eq!(answer(&by_protocol, datagram(1), layer), Answer::Accepts);
        }
        let at_network = filter(&[(0x30, 0, 0, 9), (0x15, 0, 1, 17), (6, 0, 0, 1), (6, 0, 0, 0)]);
        assert_eq!(answer(&at_network, datagram(1), Layer::Network), Answer::Accepts);
    }

    #[test]
    fn follows_both_ways_where_a_byte_is_not_known() {
        // An address, then a protocol.
        let host = filter(&[
            (0x20, 0, 0, 26),
            (0x15, 0, 3, 0xc000_0201),
            (0x30, 0, 0, 23),
            (0x15, 0, 1, 17),
            (6, 0, 0, 1),
            (6, 0, 0, 0),
        ]);
        assert_eq!(answer(&host, datagram(1), Layer::Link), Answer::Accepts);
        let tcp = Packet::Ports { is_ipv6: false, protocol: 6, source: 1, destination: 1 };
        assert_eq!(answer(&host, tcp, Layer::Link), Answer::Rejects);
    }

    #[test]
    fn an_equal_byte_is_known_behind_the_jump() {
        // An address that is both of two is none.
        let both = filter(&[
            (0x20, 0, 0, 26),
            (0x15, 0, 2, 1),
            (0x15, 0, 1, 2),
            (6, 0, 0, 1),
            (6, 0, 0, 0),
        ]);
        assert_eq!(answer(&both, datagram(1), Layer::Link), Answer::Rejects);
    }

    #[test]
    fn rejects_a_division_by_zero() {
        let divides = filter(&[(0x00, 0, 0, 1), (0x34, 0, 0, 0), (6, 0, 0, 1)]);
        assert_eq!(answer(&divides, datagram(1), Layer::Link), Answer::Rejects);
    }

    #[test]
    fn gives_up_where_the_ways_are_too_many() {
        let mut instructions = vec![(0x20, 0, 0, 26)];
        instructions.extend((0..40).map(|bit| (0x45, 0, 1, 1 << (bit % 32))));
        instructions.push((6, 0, 0, 0));
        instructions.push((6, 0, 0, 0));
        assert_eq!(answer(&filter(&instructions), datagram(1), Layer::Link), Answer::Unknown);
    }

    #[test]
    fn reads_only_whole_programs() {
        assert_eq!(Filter::from_bytes(&[]), None);
        assert_eq!(Filter::from_bytes(&[0; 12]), None);
        assert_eq!(Filter::from_bytes(&[0; 8 * 4097]), None);
    }

    proptest! {
        #[test]
        fn any_program_ends(bytes in prop::collection::vec(any::<u8>(), 0..400), port in 0_u16..) {
            if let Some(filter) = Filter::from_bytes(&bytes[..bytes.len() / 8 * 8]) {
                let _ = answer(&filter, datagram(port), Layer::Link);
            }
        }
    }
}
