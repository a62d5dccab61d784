//! The protocols that the five ports were registered for, and the attacks on their handsets.
//!
//! WSP, WTP and WTLS were carried by UDP and SMS alone, so TCP is never one of them. Formats are of
//! WAP-230-WSP, WAP-224-WTP, WAP-261-WTLS, WAP-192-WBXML and WAP-209-MMSEncapsulation of the WAP
//! Forum, and OMA-TS-IMPS_CSP_Transport-V1_3.

use crate::signature::{Signature, first};

mod agreement;
mod attack;
mod cir;
mod content_type;
mod gsm7;
mod header;
mod media_types;
mod mms;
mod port;
mod provisioning;
mod push;
mod service;
mod session;
mod wbxml;
mod wsp;
mod wtls;
mod wtp;

/// First bytes of WTLS records in plain text: content type 2 or 3, with and without length and
/// sequence number.
const WTLS: &[u8] = &[0x02, 0x03, 0x42, 0x43, 0x82, 0x83, 0xc2, 0xc3];

/// The most specific first.
pub(crate) const SIGNATURES: &[Signature] = &[
    Signature::either(b"WHOP", cir::identify),
    Signature::udp(first::ANY, push::identify),
    Signature::udp(WTLS, wtls::identify),
    Signature::udp(first::ANY, wtp::identify),
    Signature::udp(first::ANY, wsp::identify),
];
