//! The page for a terminal.

use std::fmt::{self, Write as _};

use anstyle::Style;

use super::{
    facts::Fact,
    hooks::{HookReport, HookState},
    interfaces::InterfaceReport,
    report::{Health, Report},
};
use crate::terminal::{
    page::{Page, Paper},
    table::{Cell, Column, Row},
    tone::Tone,
};

/// The interfaces that are counted.
const INTERFACES: [Column; 5] = [
    Column::new("NAME", 15),
    Column::new("DRIVER", 15).growing(1, usize::MAX),
    Column::new("MTU", 6).right(),
    Column::new("INGRESS", 12),
    Column::new("EGRESS", 12),
];

/// Indentation of explanations.
const INDENT: &str = "      ";

/// The remedy of a user who may not see enough.
const HOW_TO_KNOW: &str = "run it as root (sudo ghostport doctor); a member of the group of \
                           /run/ghostport/api.sock may ask a running agent";

/// Sign in front of a line.
#[derive(Clone, Copy)]
enum Mark {
    Fine,
    Lost,
    Unknown,
    Fatal,
}

pub(super) fn page(report: &Report, paper: Paper) -> String {
    Page::written(paper, |page| Writer { page }.report(report))
}

struct Writer<'a> {
    page: &'a mut Page,
}

impl Writer<'_> {
    fn report(&mut self, report: &Report) -> fmt::Result {
        self.head(report)?;
        let mut group = "";
        for fact in &report.facts {
            if fact.group != group {
                group = fact.group;
                self.heading(group)?;
            }
            self.fact(fact)?;
        }
        self.interfaces(report)?;
        self.hooks(report)
    }

    fn head(&mut self, report: &Report) -> fmt::Result {
        let (mark, health) = match report.health {
            Health::Full => (Mark::Fine, "full: everything is seen"),
            Health::Degraded => (Mark::Lost, "degraded: what is marked ! below is lost"),
            Health::Unknown => (Mark::Unknown, "unknown: you may not see enough to say"),
            Health::Broken => (Mark::Fatal, "broken: the agent cannot work here, see ✗ below"),
        };
        let health = self.page.styled(mark.style().bold(), health);
        writeln!(self.page, "ghostport doctor: {health} (exit code {})", report.health.code())?;
        let agent = match (report.agent.is_running, report.agent.pid) {
            (Some(true), Some(pid)) => format!("running, process {pid}"),
            (Some(true), None) => "running".to_owned(),
            (None, _) => "not visible to you: one may run".to_owned(),
            _ if report.hooks.is_empty() => "not running".to_owned(),
            _ => "not running; the hooks below were tried just now".to_owned(),
        };
        writeln!(self.page, "\nagent    {agent}")?;
        let series = if report.quiet_series_omitted {
            "; series of ports that never saw anything are left out"
        } else {
            ""
        };
        writeln!(self.page, "ports    {} watched{series}", report.watched_ports)?;
        if let Some(bytes) = report.kernel_memory_bytes {
            writeln!(self.page, "memory   {} KiB in the kernel, for maps", bytes.div_ceil(1024))?;
        }
        if report.health == Health::Unknown {
            self.page.paragraph("do       ", 9, HOW_TO_KNOW)?;
        }
        Ok(())
    }

    fn fact(&mut self, fact: &Fact) -> fmt::Result {
        let mark = match (fact.ok, fact.is_fatal()) {
            (None, _) => Mark::Unknown,
            (Some(true), _) => Mark::Fine,
            (Some(false), false) => Mark::Lost,
            (Some(false), true) => Mark::Fatal,
        };
        self.line(mark, &format!("{:<20} ", fact.name), &fact.value)?;
        self.explanation("lost: ", fact.costs.as_deref())?;
        self.explanation("do:   ", fact.remedy.as_deref())
    }

    fn interfaces(&mut self, report: &Report) -> fmt::Result {
        let (counted, others): (Vec<_>, Vec<_>) =
            report.interfaces.iter().partition(|interface| interface.counted);
        self.heading("Interfaces")?;
        if counted.is_empty() {
            writeln!(self.page, "  ! none is counted: see interfaces.include and exclude")?;
        } else {
            let rows: Vec<Row> = counted.into_iter().map(interface_row).collect();
            self.page.table(4, &INTERFACES, &rows)?;
        }
        let names: Vec<&str> = others.iter().map(|interface| interface.name.as_str()).collect();
        let names = (!names.is_empty()).then(|| names.join(", "));
        self.explanation("not counted by configuration: ", names.as_deref())
    }

    /// The hooks; interfaces whose hooks are alike share an entry.
    fn hooks(&mut self, report: &Report) -> fmt::Result {
        if report.hooks.is_empty() {
            return Ok(());
        }
        self.heading("Hooks")?;
        let mut shown: Vec<&HookReport> = Vec::new();
        for hook in &report.hooks {
            if shown.iter().any(|other| is_alike(other, hook)) {
                continue;
            }
            shown.push(hook);
            let alike = report.hooks.iter().filter(|other| is_alike(other, hook));
            let names: Vec<&str> = alike.filter_map(|hook| hook.interface.as_deref()).collect();
            self.hook(hook, &names.join(", "))?;
        }
        Ok(())
    }

    fn hook(&mut self, hook: &HookReport, interfaces: &str) -> fmt::Result {
        let mark = if hook.loses_something() { Mark::Lost } else { Mark::Fine };
        let state = match hook.state {
            HookState::Attached => "attached",
            HookState::Works => "works",
            HookState::Candidate => "tried first",
            HookState::Unserved => "not served",
        };
        let mechanism = hook.mechanism.map_or("-", |mechanism| mechanism.name());
        let head = format!("{:<8} {mechanism:<12} {state:<12} ", hook.hook.name());
        self.line(mark, &head, interfaces)?;
        self.explanation("not seen: ", hook.loses)?;
        for rejection in &hook.rejected {
            self.explanation(&format!("not {}: ", rejection.mechanism), Some(&rejection.why))?;
        }
        self.explanation("do: ", hook.remedy)
    }

    fn heading(&mut self, name: &str) -> fmt::Result {
        let name = self.page.styled(Style::new().bold(), name);
        writeln!(self.page, "\n{name}")
    }

    /// A marked line, what follows its head wrapped under itself.
    fn line(&mut self, mark: Mark, head: &str, value: &str) -> fmt::Result {
        let indent = 4 + head.chars().count();
        let sign = self.page.styled(mark.style(), mark.sign());
        self.page.paragraph(&format!("  {sign} {head}"), indent, value)
    }

    fn explanation(&mut self, label: &str, words: Option<&str>) -> fmt::Result {
        let Some(words) = words else { return Ok(()) };
        let head = format!("{INDENT}{label}");
        self.page.paragraph(&head, head.chars().count(), words)
    }
}

impl Mark {
    const fn sign(self) -> &'static str {
        match self {
            Self::Fine => "✓",
            Self::Lost => "!",
            Self::Unknown => "?",
            Self::Fatal => "✗",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Fine => Tone::Fine,
            Self::Lost | Self::Unknown => Tone::Notice,
            Self::Fatal => Tone::Alarm,
        }
        .style()
    }
}

fn interface_row(interface: &InterfaceReport) -> Row {
    let mechanism = |mechanism: Option<_>| mechanism.map_or("-".into(), |m| format!("{m}"));
    let cells = [
        interface.name.clone(),
        interface.driver.clone().unwrap_or_else(|| "-".to_owned()),
        interface.mtu.to_string(),
        mechanism(interface.ingress),
        mechanism(interface.egress),
    ];
    Row { style: None, cells: cells.map(Cell::text).into() }
}

/// Whether two reports differ in nothing but the interface.
fn is_alike(one: &HookReport, other: &HookReport) -> bool {
    *one == HookReport { interface: one.interface.clone(), ..other.clone() }
}
