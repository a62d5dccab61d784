//! The processes that may bind a watched port.
//!
//! Pure: an [`Expectation`] is compared with what is known of an [`Owner`].

use std::str::FromStr;

use jiff::civil::Date;

use super::pattern::{Pattern, PatternError};

/// `docker ps` shows this many characters of an id. A shorter prefix could soon match a second
/// container.
const SHORTEST_CONTAINER_PREFIX: usize = 12;

/// The kinds of systemd units that processes run in (systemd.unit(5)).
const UNIT_SUFFIXES: [&str; 6] = [".service", ".scope", ".socket", ".slice", ".mount", ".swap"];

/// An entry of `expect`: every field that is set must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// Executable, by its path or a glob in which `*` does not match `/`.
    pub exe: Option<Pattern>,
    /// SHA-256 of the executable.
    pub sha256: Option<Sha256Match>,
    /// Package that installed the executable, and whose file it still is.
    pub package: Option<Pattern>,
    /// Effective user.
    pub user: Option<UserMatch>,
    /// systemd unit, by its whole name or a glob.
    pub unit: Option<UnitMatch>,
    /// Container.
    pub container: Option<ContainerMatch>,
    /// The last day, in UTC, on which it holds; `None` for no end.
    pub until: Option<Date>,
}

/// A user of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserMatch {
    /// By number, also one that has no name.
    Id(u32),
    /// By name.
    Name(String),
}

/// A SHA-256, in lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sha256Match(String);

/// Whether a process is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// An entry allows it.
    Expected,
    /// No entry does.
    NotExpected,
    /// It depends on a hash or a package that is not known yet. It soon is, or it is known that it
    /// cannot be.
    Pending,
}

/// What is known of the file that a process executes.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnerFile<'a> {
    /// Its SHA-256.
    pub sha256: Option<&'a str>,
    /// The package that installed it, if it is certain that it was not changed since.
    pub package: Option<&'a str>,
}

/// Units by their whole name, as `kannel.service`, or by a glob, as `ssh@*.service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitMatch(Pattern);

/// Containers by id, by the first characters of it, by name where the runtime uses it as the id
/// (LXC), or by a glob over these; `*` is any container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerMatch(Pattern);

/// What is known of the process that binds a port. `None` stands for unknown, and for none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner<'a> {
    /// Path of the executable, at the moment of the call where it made one.
    pub executable: Option<&'a str>,
    /// Whether it is the host's file of that path, not one of a container's or a private mount.
    pub executable_is_hosts: bool,
    /// Whether it is in the host's user namespace. In one of its own a process may claim to execute any
    /// file (`PR_SET_MM_MAP`).
    pub is_in_hosts_user_namespace: bool,
    /// Whether it is in the mount namespace of the host or of the agent.
    pub is_in_hosts_mount_namespace: bool,
    /// Name of the effective user on this host.
    pub user_name: Option<&'a str>,
    /// Number of the effective user in the initial user namespace.
    pub user_id: Option<u32>,
    /// systemd unit whose control group it is in.
    pub systemd_unit: Option<&'a str>,
    /// Id of the container it is in.
    pub container_id: Option<&'a str>,
    /// The file that it executes; `None` while that is being found out.
    pub file: Option<OwnerFile<'a>>,
}

impl Owner<'_> {
    /// Whether a path means the same to it as to the host. The service manager gives services mount
    /// namespaces (`PrivateTmp=`, `ProtectSystem=`) and no user namespace: those were not made by a user.
    fn has_hosts_files(&self) -> bool {
        let is_service = self.systemd_unit.is_some_and(|unit| unit.ends_with(".service"));
        self.is_in_hosts_user_namespace && (self.is_in_hosts_mount_namespace || is_service)
    }
}

/// Whether one of `expectations` allows `owner` on the day `today`. An empty list allows no process.
pub fn is_expected<'a>(
    expectations: impl IntoIterator<Item = &'a Expectation>,
    owner: &Owner<'_>,
    today: Date,
) -> bool {
    let mut in_force = expectations.into_iter().filter(|entry| entry.is_in_force(today));
    in_force.any(|expectation| expectation.allows(owner))
}

/// As [`is_expected`], where the file of `owner` may not be known yet.
pub fn judge<'a>(
    expectations: impl IntoIterator<Item = &'a Expectation>,
    owner: &Owner<'_>,
    today: Date,
) -> Judgement {
    let in_force = expectations.into_iter().filter(|entry| entry.is_in_force(today));
    let mut judgement = Judgement::NotExpected;
    for entry in in_force {
        if entry.allows(owner) {
            return Judgement::Expected;
        }
        if owner.file.is_none() && entry.allows_but_for_its_file(owner) {
            judgement = Judgement::Pending;
        }
    }
    judgement
}

impl Expectation {
    /// Whether it names what only the file itself shows.
    pub const fn needs_file(&self) -> bool {
        self.sha256.is_some() || self.package.is_some()
    }

    /// Whether its last day is not over.
    pub fn is_in_force(&self, today: Date) -> bool {
        self.until.is_none_or(|last| today <= last)
    }

    /// Whether every field that is named is known of `owner` and matches.
    pub fn allows(&self, owner: &Owner<'_>) -> bool {
        self.allows_file(owner) && self.allows_but_for_its_file(owner)
    }

    fn allows_file(&self, owner: &Owner<'_>) -> bool {
        let file = owner.file.unwrap_or_default();
        // The database of a container is the container's own, as its files are.
        let is_trusted = owner.executable_is_hosts || self.container.is_some();
        holds(self.sha256.as_ref(), file.sha256, |sha256, known| sha256.0 == known)
            && holds(self.package.as_ref(), file.package.filter(|_| is_trusted), |package, name| {
                package.matches(name)
            })
    }

    fn allows_but_for_its_file(&self, owner: &Owner<'_>) -> bool {
        let unit = self.unit.as_ref();
        // A system unit may have a user namespace (`PrivateUsers=`), and nothing else is in its control
        // group. In a container the files are the container's own.
        let is_confined = self.unit.is_some() || self.container.is_some();
        let names_path = self.exe.is_some() || self.package.is_some();
        let is_doubtful = !is_confined
            && (names_path && !owner.has_hosts_files()
                || self.sha256.is_some() && !owner.is_in_hosts_user_namespace);
        holds(unit, owner.systemd_unit, |unit, name| unit.0.matches(name))
            && !is_doubtful
            && self.allows_in_any_unit(owner)
    }

    /// Whether a socket unit is named, for which the service manager `manager` holds sockets that a
    /// child of it bound in the control group of that unit.
    pub fn allows_manager_of_sockets(&self, manager: &Owner<'_>) -> bool {
        let is_socket_unit = |unit: &UnitMatch| unit.as_str().ends_with(".socket");
        self.unit.as_ref().is_some_and(is_socket_unit) && self.allows_in_any_unit(manager)
    }

    fn allows_in_any_unit(&self, owner: &Owner<'_>) -> bool {
        let Self { exe, user, container, .. } = self;
        // A process that may mount can choose any path. In a container the files are the container's own.
        let executable =
            owner.executable.filter(|_| owner.executable_is_hosts || container.is_some());
        holds(exe.as_ref(), executable, |exe, path| exe.matches(path))
            && user.as_ref().is_none_or(|user| user.is(owner))
            && holds(container.as_ref(), owner.container_id, |container, id| container.is(id))
    }

    /// Whether it allows every process that `other` allows, for as long. Where that is not certain, it
    /// does not.
    pub fn covers(&self, other: &Self) -> bool {
        let Self { exe, sha256, package, user, unit, container, until } = self;
        let names = |own: Option<&Pattern>, others: Option<&Pattern>| {
            own.is_none_or(|own| others.is_some_and(|others| own.covers(others)))
        };
        names(exe.as_ref(), other.exe.as_ref())
            && names(package.as_ref(), other.package.as_ref())
            && (sha256.is_none() || *sha256 == other.sha256)
            && names(unit.as_ref().map(|unit| &unit.0), other.unit.as_ref().map(|unit| &unit.0))
            && names(
                container.as_ref().map(|container| &container.0),
                other.container.as_ref().map(|container| &container.0),
            )
            && (user.is_none() || *user == other.user)
            && until.is_none_or(|last| other.until.is_some_and(|other| other <= last))
            // The executable of a container is believed only where a container is named.
            && ((exe.is_none() && package.is_none())
                || container.is_some()
                || other.container.is_none())
    }

    /// Whether no process is named; such a one would allow every process.
    pub const fn is_empty(&self) -> bool {
        let Self { exe, sha256, package, user, unit, container, until: _ } = self;
        exe.is_none()
            && sha256.is_none()
            && package.is_none()
            && user.is_none()
            && unit.is_none()
            && container.is_none()
    }
}

/// A field that is not named matches. A named one matches only a known value.
fn holds<M>(named: Option<&M>, known: Option<&str>, matches: impl Fn(&M, &str) -> bool) -> bool {
    named.is_none_or(|named| known.is_some_and(|known| matches(named, known)))
}

impl UserMatch {
    fn is(&self, owner: &Owner<'_>) -> bool {
        match self {
            Self::Id(id) => owner.user_id == Some(*id),
            Self::Name(name) => owner.user_name == Some(name),
        }
    }
}

impl ContainerMatch {
    fn is(&self, id: &str) -> bool {
        let text = self.0.as_str();
        let is_prefix = text.len() >= SHORTEST_CONTAINER_PREFIX
            && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.0.matches(id) || (is_prefix && id.starts_with(text))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Sha256Match {
    /// As it is compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UnitMatch {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<&str> for UserMatch {
    /// Digits are a number, as they are for `chown` where no user has them as a name.
    fn from(text: &str) -> Self {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(id) if is_number => Self::Id(id),
            _ => Self::Name(text.to_owned()),
        }
    }
}

impl FromStr for Sha256Match {
    type Err = PatternError;

    /// 64 hexadecimal digits, as sha256sum(1) prints them.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(PatternError::new(text, "it has not 64 hexadecimal digits"))
    }
}

impl FromStr for ContainerMatch {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        text.parse().map(Self)
    }
}

impl FromStr for UnitMatch {
    type Err = PatternError;

    /// A name without its suffix would never match, and is refused.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let is_whole =
            text.ends_with('*') || UNIT_SUFFIXES.iter().any(|suffix| text.ends_with(suffix));
        if !is_whole {
            return Err(PatternError::new(text, "it lacks the suffix of a unit, as .service"));
        }
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const DOCKER: &str = "4c01db0b339c1a7f0e5bd4d1d2b9c8f7a6e5d4c3b2a190887766554433221100";

    fn kannel() -> Owner<'static> {
        Owner {
            executable: Some("/usr/sbin/bearerbox"),
            executable_is_hosts: true,
            is_in_hosts_user_namespace: true,
            is_in_hosts_mount_namespace: true,
            user_name: Some("kannel"),
            user_id: Some(117),
            systemd_unit: Some("kannel.service"),
            container_id: Some(DOCKER),
            file: None,
        }
    }

    fn exe(text: &str) -> Expectation {
        Expectation { exe: text.parse().ok(), ..Expectation::default() }
    }

    fn user(text: &str) -> Expectation {
        Expectation { user: Some(text.into()), ..Expectation::default() }
    }

    fn unit(text: &str) -> Expectation {
        Expectation { unit: Some(text.parse().expect("a unit")), ..Expectation::default() }
    }

    fn container(text: &str) -> Expectation {
        Expectation { container: text.parse().ok(), ..Expectation::default() }
    }

    #[test]
    fn all_that_is_named_must_match() {
        let expectation = Expectation { user: Some("kannel".into()), ..exe("/usr/sbin/bearerbox") };
        assert!(expectation.allows(&kannel()));
        let other_user = Owner { user_name: Some("root"), ..kannel() };
        let other_program = Owner { executable: Some("/usr/bin/nc"), ..kannel() };
        assert!(!expectation.allows(&other_user));
        assert!(!expectation.allows(&other_program));
    }

    #[test]
    fn an_empty_list_expects_no_process() {
        let today = date(2026, 11, 30);
        assert!(!is_expected(&[], &kannel(), today));
        assert!(is_expected(&[user("root"), user("kannel")], &kannel(), today));
        assert!(!is_expected(&[user("root"), user("mail")], &kannel(), today));
    }

    #[test]
    fn an_entry_ends_after_its_last_day() {
        let entry = Expectation { until: Some(date(2027, 1, 31)), ..user("kannel") };
        for (today, is_in_force) in [
            (date(2026, 12, 1), true),
            (date(2027, 1, 31), true),
            (date(2027, 2, 1), false),
            (date(2028, 1, 1), false),
        ] {
            assert_eq!(is_expected([&entry], &kannel(), today), is_in_force, "{today}");
        }
        let only_an_end = Expectation { until: entry.until, ..Expectation::default() };
        assert!(only_an_end.is_empty(), "it names no process");
    }

    #[test]
    fn what_is_not_known_matches_nothing() {
        let unknown = Owner::default();
        let any = [exe("/**"), user("kannel"), user("0"), unit("*"), container("*")];
        for expectation in any {
            assert!(!expectation.allows(&unknown), "{expectation:?}");
        }
    }

    #[test]
    fn executables_are_paths_or_globs_of_paths() {
        for text in ["/usr/sbin/bearerbox", "/usr/*/bearerbox", "/usr/**", "/usr/{bin,sbin}/*box"] {
            assert!(exe(text).allows(&kannel()), "{text}");
        }
        for text in ["/usr/sbin/bearer", "bearerbox", "/usr/*", "/usr/sbin/bearerbox2"] {
            assert!(!exe(text).allows(&kannel()), "{text}");
        }
        let in_own_users = Owner { is_in_hosts_user_namespace: false, ..kannel() };
        let exe_alone = exe("/usr/sbin/bearerbox");
        assert!(exe_alone.allows(&kannel()) && !exe_alone.allows(&in_own_users));
        let of_unit = Expectation { unit: unit("kannel.service").unit, ..exe_alone.clone() };
        let contained = Expectation { container: container(DOCKER).container, ..exe_alone.clone() };
        assert!(of_unit.allows(&in_own_users) && contained.allows(&in_own_users));
        assert!(user("kannel").allows(&in_own_users));
        let own_mounts = Owner { is_in_hosts_mount_namespace: false, ..kannel() };
        assert!(exe_alone.allows(&own_mounts), "a service with PrivateTmp=");
        let by_hand = Owner { systemd_unit: Some("session-3.scope"), ..own_mounts };
        assert!(!exe_alone.allows(&by_hand) && contained.allows(&by_hand));
        let elsewhere = Owner { executable_is_hosts: false, ..kannel() };
        assert!(!exe("/usr/**").allows(&elsewhere), "a private mount can put any file there");
        let of_container = Expectation { container: "*".parse().ok(), ..exe("/usr/**") };
        assert!(of_container.allows(&elsewhere), "a container has files of its own");
        let deleted = Owner { executable: Some("/usr/sbin/bearerbox (deleted)"), ..kannel() };
        assert!(!exe("/usr/sbin/bearerbox").allows(&deleted));
    }

    #[test]
    fn a_file_is_judged_when_it_is_known() {
        const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let today = date(2026, 11, 30);
        let sha256 =
            Expectation { sha256: HASH.to_ascii_uppercase().parse().ok(), ..user("kannel") };
        let package = Expectation { package: "kannel*".parse().ok(), ..exe("/usr/sbin/**") };
        let of = |entry: &Expectation, file, change: fn(&mut Owner<'static>)| {
            let mut owner = Owner { file, ..kannel() };
            change(&mut owner);
            judge([entry], &owner, today)
        };
        let same = Some(OwnerFile { sha256: Some(HASH), package: Some("kannel-extras") });
        let unknown = Some(OwnerFile::default());
        for entry in [&sha256, &package] {
            assert!(entry.needs_file());
            assert_eq!(of(entry, None, |_| ()), Judgement::Pending, "not known yet");
            assert_eq!(of(entry, same, |_| ()), Judgement::Expected);
            assert_eq!(of(entry, unknown, |_| ()), Judgement::NotExpected, "it cannot be known");
            let another = |owner: &mut Owner<'static>| {
                (owner.user_name, owner.executable) = (Some("root"), Some("/tmp/x"));
            };
            assert_eq!(of(entry, None, another), Judgement::NotExpected, "whatever the file is");
            let own_users = |owner: &mut Owner<'static>| owner.is_in_hosts_user_namespace = false;
            assert_eq!(of(entry, same, own_users), Judgement::NotExpected);
        }
        let elsewhere = |owner: &mut Owner<'static>| owner.executable_is_hosts = false;
        assert_eq!(of(&sha256, same, elsewhere), Judgement::Expected, "a hash is one anywhere");
        let alone = Expectation { package: package.package, ..Expectation::default() };
        assert_eq!(of(&alone, same, elsewhere), Judgement::NotExpected, "its own database");
        assert!("ba78".parse::<Sha256Match>().is_err());
    }

    #[test]
    fn users_have_names_and_numbers() {
        assert!(user("117").allows(&kannel()) && user("kannel").allows(&kannel()));
        assert!(!user("118").allows(&kannel()) && !user("Kannel").allows(&kannel()));
        let nameless = Owner { user_name: None, user_id: Some(4242), ..kannel() };
        assert!(user("4242").allows(&nameless) && !user("kannel").allows(&nameless));
    }

    #[test]
    fn units_have_suffixes() {
        assert!(unit("kannel.service").allows(&kannel()) && unit("kannel*").allows(&kannel()));
        assert!(!unit("kannel.socket").allows(&kannel()));
        assert!("kannel".parse::<UnitMatch>().is_err());
        let escaped = r"dev-disk-by\x2duuid.swap";
        let owner = Owner { systemd_unit: Some(escaped), ..kannel() };
        assert!(unit(escaped).allows(&owner), "a backslash is part of the name");
    }

    #[test]
    fn containers_have_ids_and_short_ids() {
        for text in [DOCKER, &DOCKER[..12], &DOCKER[..40], "*", "4c*"] {
            assert!(container(text).allows(&kannel()), "{text}");
        }
        for text in [&DOCKER[..11], &DOCKER[1..13], "web"] {
            assert!(!container(text).allows(&kannel()), "{text}");
        }
        let lxc = Owner { container_id: Some("web"), ..kannel() };
        assert!(container("web").allows(&lxc) && !container("web").allows(&Owner::default()));
    }
}
