//! Filters as programs install them, for tests: what libpcap compiles for Ethernet.

/// Code, jumps and operand of an instruction.
pub(super) type Instruction = (u16, u8, u8, u32);

/// `tcpdump -dd 'udp port 2948'`.
pub(super) const UDP_PORT_2948: &[Instruction] = &[
    (0x28, 0, 0, 0x0000_000c),
    (0x15, 0, 6, 0x0000_86dd),
    (0x30, 0, 0, 0x0000_0014),
    (0x15, 0, 15, 0x0000_0011),
    (0x28, 0, 0, 0x0000_0036),
    (0x15, 12, 0, 0x0000_0b84),
    (0x28, 0, 0, 0x0000_0038),
    (0x15, 10, 11, 0x0000_0b84),
    (0x15, 0, 10, 0x0000_0800),
    (0x30, 0, 0, 0x0000_0017),
    (0x15, 0, 8, 0x0000_0011),
    (0x28, 0, 0, 0x0000_0014),
    (0x45, 6, 0, 0x0000_1fff),
    (0xb1, 0, 0, 0x0000_000e),
    (0x48, 0, 0, 0x0000_000e),
    (0x15, 2, 0, 0x0000_0b84),
    (0x48, 0, 0, 0x0000_0010),
    (0x15, 0, 1, 0x0000_0b84),
    (0x06, 0, 0, 0x0004_0000),
    (0x06, 0, 0, 0x0000_0000),
];

/// `tcpdump -dd 'tcp dst port 80'`, its half for IPv4.
pub(super) const TCP_TO_80: &[Instruction] = &[
    (0x28, 0, 0, 12),
    (0x15, 0, 8, 0x0800),
    (0x30, 0, 0, 23),
    (0x15, 0, 6, 6),
    (0x28, 0, 0, 20),
    (0x45, 4, 0, 0x1fff),
    (0xb1, 0, 0, 14),
    (0x48, 0, 0, 16),
    (0x15, 0, 1, 80),
    (0x06, 0, 0, 0x0004_0000),
    (0x06, 0, 0, 0),
];

/// `tcpdump -dd 'ip host 192.0.2.1'`.
pub(super) const HOST: &[Instruction] = &[
    (0x28, 0, 0, 12),
    (0x15, 0, 5, 0x0800),
    (0x20, 0, 0, 26),
    (0x15, 2, 0, 0xc000_0201),
    (0x20, 0, 0, 30),
    (0x15, 0, 1, 0xc000_0201),
    (0x06, 0, 0, 0x0004_0000),
    (0x06, 0, 0, 0),
];

/// `tcpdump -y RAW -dd 'udp dst portrange 2948-2949'`, its half for IPv4: for packets that begin with
/// the header of the network layer.
pub(super) const UDP_TO_TWO_PORTS_WITHOUT_LINK: &[Instruction] = &[
    (0x30, 0, 0, 0),
    (0x54, 0, 0, 0xf0),
    (0x15, 0, 9, 0x40),
    (0x30, 0, 0, 9),
    (0x15, 0, 7, 17),
    (0x28, 0, 0, 6),
    (0x45, 5, 0, 0x1fff),
    (0xb1, 0, 0, 0),
    (0x48, 0, 0, 2),
    (0x35, 0, 2, 2948),
    (0x25, 1, 0, 2949),
    (0x06, 0, 0, 0x0004_0000),
    (0x06, 0, 0, 0),
];

/// The bytes that the kernel reports.
pub(super) fn program(instructions: &[Instruction]) -> Vec<u8> {
    let bytes = |&(code, yes, no, operand): &Instruction| {
        let code = code.to_ne_bytes();
        let operand = operand.to_ne_bytes();
        [&code[..], &[yes, no], &operand].concat()
    };
    instructions.iter().flat_map(bytes).collect()
}
