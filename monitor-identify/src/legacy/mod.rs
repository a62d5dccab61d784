//! The protocols that the five ports were registered for, and the attacks on their handsets.
//!
//! WSP, WTP and WTLS were carried by UDP and SMS alone, so TCP is never one of them. Formats are of
//! WAP-230-WSP, WAP-224-WTP, WAP-261-WTLS, WAP-192-WBXML and WAP-209-MMSEncapsulation of the WAP
//! Forum, and OMA-TS-IMPS_CSP_Transport-V1_3.

use super::Signature;

mod agreement;
mod attack;
mod cir;
mod content_type;
mod gsm7;
mod header;
mod mms;
mod provisioning;
mod push;
mod service;
mod session;
mod wbxml;
mod wsp;
mod wtls;
mod wtp;

/// The most specific first.
pub(super) const SIGNATURES: &[Signature] =
    &[cir::identify, push::identify, wtls::identify, wtp::identify, wsp::identify];

/// Registered ports that matter to signatures.
mod port {
    /// WTP without WTLS; a port of gateways.
    pub(super) const WTP: u16 = 9201;
    /// Connectionless pushes; a port of handsets.
    pub(super) const PUSH: u16 = 2948;
}
