//! Techniques of MITRE ATT&CK, by the ids that events have.

/// A technique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Technique {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// The tactic that it is named for here; some belong to several.
    pub(super) tactic: Tactic,
}

/// A tactic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tactic {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
}

const COMMAND_AND_CONTROL: Tactic = Tactic { id: "TA0011", name: "Command and Control" };
const DISCOVERY: Tactic = Tactic { id: "TA0007", name: "Discovery" };
const LATERAL_MOVEMENT: Tactic = Tactic { id: "TA0008", name: "Lateral Movement" };

const fn technique(id: &'static str, name: &'static str, tactic: Tactic) -> Technique {
    Technique { id, name, tactic }
}

/// Those that events name, of version 17.
const TECHNIQUES: [Technique; 9] = [
    technique("T1021", "Remote Services", LATERAL_MOVEMENT),
    technique("T1021.001", "Remote Desktop Protocol", LATERAL_MOVEMENT),
    technique("T1021.002", "SMB/Windows Admin Shares", LATERAL_MOVEMENT),
    technique("T1021.004", "SSH", LATERAL_MOVEMENT),
    technique("T1021.005", "VNC", LATERAL_MOVEMENT),
    technique("T1046", "Network Service Discovery", DISCOVERY),
    technique("T1205", "Traffic Signaling", COMMAND_AND_CONTROL),
    technique("T1205.002", "Socket Filters", COMMAND_AND_CONTROL),
    technique("T1571", "Non-Standard Port", COMMAND_AND_CONTROL),
];

impl Technique {
    pub(super) fn by_id(id: &str) -> Option<Self> {
        TECHNIQUES.into_iter().find(|technique| technique.id == id)
    }

    /// The technique that this is a part of; `None` if it is a whole one.
    pub(super) fn parent(self) -> Option<Self> {
        let (parent, _) = self.id.split_once('.')?;
        Self::by_id(parent)
    }

    /// Its page.
    pub(super) fn page(self) -> String {
        format!("https://attack.mitre.org/techniques/{}/", self.id.replace('.', "/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_technique_has_a_parent() {
        for technique in TECHNIQUES {
            let is_part = technique.id.contains('.');
            assert_eq!(technique.parent().is_some(), is_part, "{}", technique.id);
        }
        let page = "https://attack.mitre.org/techniques/T1205/002/";
        assert_eq!(Technique::by_id("T1205.002").map(Technique::page).as_deref(), Some(page));
    }
}
