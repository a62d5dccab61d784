//! Programs that are not ghostport's: neighbours at the hooks, and the generator of frames at line
//! rate.

use aya::{
    Ebpf, TestRun as _,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, TestRunAttrs, TestRunOptions, Xdp,
        XdpMode, loaded_programs,
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
    },
};
use aya_obj::programs::XdpAttachType;

use monitor_kernel::testing;

use super::{sh, wire::index_of};

/// Programs of another owner. What was attached stays until this is dropped.
pub struct Programs(Ebpf);

impl Programs {
    /// Loads the object.
    pub fn load() -> Self {
        Self(Ebpf::load(testing::OBJECT).expect("the programs for tests"))
    }

    /// Attaches an XDP program in this thread's namespace. Returns the program's id.
    pub fn attach_xdp(&mut self, name: &str, interface: &str, mode: XdpMode) -> u32 {
        let program = self.xdp(name);
        program.attach_to_if_index(index_of(interface), mode).expect("attached");
        program.info().expect("a program").id()
    }

    fn xdp(&mut self, name: &str) -> &mut Xdp {
        let program = self.0.program_mut(name).expect("a program");
        let program: &mut Xdp = program.try_into().expect("XDP");
        if program.fd().is_err() {
            program.load().expect("loaded");
        }
        program
    }

    /// Puts the filter that does nothing on an interface's clsact qdisc, which must be there.
    /// Returns the program's id.
    pub fn attach_filter(&mut self, interface: &str, direction: TcAttachType) -> u32 {
        let program = self.classifier();
        let options = NlOptions { priority: 50, handle: TcHandle::new(0, 0x33), classid: None };
        let options = TcAttachOptions::Netlink(options);
        let link = program.attach_with_options(interface, direction, options).expect("attached");
        // The filter stays until it is removed by name.
        std::mem::forget(program.take_link(link).expect("a link"));
        program.info().expect("a program").id()
    }

    /// Attaches the program that does nothing to TCX. False where there is no more room.
    pub fn attach_tcx(&mut self, interface: &str, direction: TcAttachType) -> bool {
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        self.classifier().attach_with_options(interface, direction, options).is_ok()
    }

    fn classifier(&mut self) -> &mut SchedClassifier {
        let program = self.0.program_mut("tc_foreign").expect("a program");
        let program: &mut SchedClassifier = program.try_into().expect("a classifier");
        if program.fd().is_err() {
            program.load().expect("loaded");
        }
        program
    }

    /// Makes an interface of this thread's namespace fit for [`Self::transmit`].
    pub fn prepare_transmission(&mut self, interface: &str) {
        // An XDP program makes veth poll, which live frames need.
        self.attach_xdp("xdp_pass", interface, XdpMode::Driver);
    }

    /// Sends a frame out of an interface of this thread's namespace, this many times, at line rate:
    /// a program that returns `XDP_TX`, run on live frames. What the other end's queue cannot take
    /// is lost, so it is for the other end to say how many arrived. Fails where the kernel has no
    /// live frames, which came with Linux 5.18, and where the other end does not poll.
    pub fn transmit(
        &mut self,
        interface: &str,
        frame: &[u8],
        times: u32,
    ) -> Result<(), ProgramError> {
        let context = arrival(frame, index_of(interface));
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: times,
            attrs: TestRunAttrs::new().xdp_live_frames(64),
            ..TestRunOptions::new()
        };
        self.xdp("xdp_tx").test_run(options).map(drop)
    }
}

/// A program that another owner has attached.
pub struct Attached {
    program: Xdp,
    interface: u32,
}

impl Attached {
    /// The XDP program of an interface of this thread's namespace.
    pub fn xdp(interface: &str) -> Self {
        let link = sh(&format!("ip -json link show {interface}"));
        let link: serde_json::Value = serde_json::from_str(&link).expect("JSON");
        let id = link[0]["xdp"]["prog"]["id"].as_u64().expect("a program");
        let mut programs = loaded_programs().flatten();
        let info = programs.find(|info| u64::from(info.id()) == id).expect("a program");
        let program =
            Xdp::from_program_info(info, "attached".into(), XdpAttachType::Interface).expect("XDP");
        Self { program, interface: index_of(interface) }
    }

    /// Runs it on a frame that arrives this many times.
    pub fn run(&mut self, frame: &[u8], times: u32) {
        let context = arrival(frame, self.interface);
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: times,
            ..TestRunOptions::new()
        };
        self.program.test_run(options).expect("run");
    }
}

/// `struct xdp_md` of a frame that arrives: data, data_end, data_meta, ingress_ifindex,
/// rx_queue_index, egress_ifindex.
fn arrival(frame: &[u8], interface: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&interface.to_ne_bytes());
    context
}

/// Ids of the programs on an interface's TCX; none where the kernel has no TCX.
pub fn tcx_programs(interface: &str, direction: TcAttachType) -> Vec<u32> {
    match SchedClassifier::query_tcx(interface, direction) {
        Ok((_, programs)) => programs.iter().map(aya::programs::ProgramInfo::id).collect(),
        Err(_) if !has_tcx() => Vec::new(),
        Err(error) => panic!("TCX of {interface}: {error}"),
    }
}

/// Whether this kernel has TCX, by attaching something that does nothing.
pub fn has_tcx() -> bool {
    Programs::load().attach_tcx("lo", TcAttachType::Egress)
}

/// What `mode: tc` must come to here.
pub fn best_tc() -> &'static str {
    if has_tcx() { "tcx" } else { "clsact" }
}

/// Others' programs in every place on TCX; they stay for as long as this lives.
pub struct Crowd(#[expect(dead_code, reason = "held to be dropped")] Vec<SchedClassifierLink>);

/// Takes every place on TCX of these interfaces, so that clsact is the best that is left. Where
/// there is no TCX, that is so anyway.
pub fn without_tcx(interfaces: &[&str]) -> Crowd {
    let mut programs = Programs::load();
    let mut crowd = Vec::new();
    // A program has one place at most, but loaded again it is another one.
    for _ in 0..200 {
        let before = crowd.len();
        let program = programs.classifier();
        for direction in [TcAttachType::Ingress, TcAttachType::Egress] {
            for interface in interfaces {
                let options = TcAttachOptions::TcxOrder(LinkOrder::default());
                if let Ok(link) = program.attach_with_options(interface, direction, options) {
                    crowd.push(program.take_link(link).expect("a link"));
                }
            }
        }
        program.unload().expect("unloaded");
        if crowd.len() == before {
            return Crowd(crowd);
        }
    }
    panic!("TCX still has room");
}
