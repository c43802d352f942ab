use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::controller::Controller;
use crate::directories::{children, remove_dir, remove_dirs};
use crate::error::CgroupError;
use crate::group::{Group, make_dir};
use crate::half::HalfPlace;
use crate::hierarchy::{Hierarchy, Version};
use crate::layout::{self, Parent};
use crate::rates::DeviceRates;
use crate::set::CgroupSet;
use crate::{limits, rates};

/// The longest name of a set.
const NAME_BYTES: usize = 128;
/// The longest name of an owner.
const OWNER_BYTES: usize = 32;
/// Between the owner and what a set is for.
const OWNED: char = '-';

/// Where sandboxes' control groups are made.
#[derive(Debug, Clone)]
pub struct CgroupOptions {
    /// The group that holds them. Relative: below this process's own group in each hierarchy. Absolute: below each
    /// hierarchy's mount point.
    pub parent: PathBuf,
    /// Whose they are: letters and digits that begin the names of all its sets. Servers of one host share the parent,
    /// and each touches its own. `None` for whoever only looks at the host.
    pub owner: Option<String>,
    /// Whether [`CgroupSet::set_device_rates`] must be able to limit. Without it no controller is handed down for that.
    pub limits_device_rates: bool,
}

impl Default for CgroupOptions {
    fn default() -> Self {
        Self { parent: PathBuf::from("sandscope"), owner: None, limits_device_rates: false }
    }
}

/// What stands outside sandboxes' own groups, in version 1.
#[derive(Debug)]
pub(crate) struct Places {
    /// See [`rates::places`].
    pub(crate) rates: Vec<PathBuf>,
    pub(crate) half: Option<HalfPlace>,
}

/// The hierarchies of this host, ready to take sandboxes. The only maker of [`CgroupSet`]s.
#[derive(Debug)]
pub struct Cgroups {
    parents: Vec<Parent>,
    owner: Option<String>,
    places: Arc<Places>,
}

impl Cgroups {
    /// Looks whether this host has what sandboxes need, and changes nothing.
    ///
    /// # Errors
    ///
    /// A controller or the freezer is missing, or the parent's path is none.
    pub fn probe(options: &CgroupOptions) -> Result<Self, CgroupError> {
        Self::plan(&Hierarchy::read_host()?, options)
    }

    fn plan(hierarchies: &[Hierarchy], options: &CgroupOptions) -> Result<Self, CgroupError> {
        if !layout::is_sound_parent(&options.parent) {
            return Err(CgroupError::InvalidName(options.parent.display().to_string()));
        }
        if let Some(owner) = options.owner.as_deref().filter(|owner| !is_sound_owner(owner)) {
            return Err(CgroupError::InvalidName(owner.to_owned()));
        }
        let parents = layout::plan(hierarchies, &options.parent, options.limits_device_rates)?;
        let rates = rates::places(hierarchies, &parents);
        let in_groups = parents.iter().any(|parent| parent.controllers.contains(&Controller::Io));
        if options.limits_device_rates && !in_groups && rates.is_empty() {
            return Err(CgroupError::ControllerMissing(Controller::Io));
        }
        let half = HalfPlace::plan(hierarchies, options);
        Ok(Self { parents, owner: options.owner.clone(), places: Arc::new(Places { rates, half }) })
    }

    /// Looks, and makes the parent groups. In version 2 this hands controllers down to them, for which this process
    /// may have to move into a group of its own beside them.
    ///
    /// # Errors
    ///
    /// As of [`probe`](Self::probe), or the parent groups cannot be made.
    pub fn open(options: &CgroupOptions) -> Result<Self, CgroupError> {
        Self::open_hierarchies(&Hierarchy::read_host()?, options)
    }

    /// The same with only some of the host's hierarchies.
    ///
    /// # Errors
    ///
    /// As of [`open`](Self::open).
    pub fn open_hierarchies(hierarchies: &[Hierarchy], options: &CgroupOptions) -> Result<Self, CgroupError> {
        let cgroups = Self::plan(hierarchies, options)?;
        for parent in &cgroups.parents {
            parent.prepare()?;
        }
        Ok(cgroups)
    }

    /// Whether sandboxes' access to devices can be limited here (version 1 only, so far).
    pub fn limits_devices(&self) -> bool {
        self.parents.iter().any(|parent| parent.controllers.contains(&Controller::Devices))
    }

    /// The block devices, as `major:minor`, that rates are set for in places that outlive sandboxes (version 1).
    ///
    /// # Errors
    ///
    /// The kernel's lists cannot be read.
    pub fn devices_with_rates(&self) -> Result<Vec<String>, CgroupError> {
        rates::limited_in(&self.places.rates)
    }

    /// Takes away what [`devices_with_rates`](Self::devices_with_rates) named.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn clear_device_rates(&self, device: &str) -> Result<(), CgroupError> {
        rates::set(&[], &self.places.rates, device, DeviceRates::default())
    }

    /// Whether a version 2 hierarchy is mounted: then [`CgroupSet::unified_dir`] has one.
    pub fn has_unified(&self) -> bool {
        self.parents.iter().any(|parent| parent.version == Version::V2)
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// The parent whose hierarchy counts CPU time.
    pub(crate) fn cpu_time_parent(&self) -> Result<&Parent, CgroupError> {
        let unified = self.parents.iter().find(|parent| parent.version == Version::V2);
        let counting =
            || self.parents.iter().find(|parent| parent.controllers.contains(&Controller::Cpuacct));
        unified.or_else(counting).ok_or(CgroupError::ControllerMissing(Controller::Cpuacct))
    }

    /// Makes a new set, with access to the harmless character devices only and no other limits yet. A set of that
    /// name that exists already is refused (`AlreadyExists`); on failure nothing remains.
    ///
    /// # Errors
    ///
    /// The name is none or is taken, or the kernel refuses.
    pub fn create(&self, name: &str) -> Result<CgroupSet, CgroupError> {
        check_name(name)?;
        let mut made = Vec::with_capacity(self.parents.len());
        let outcome = self.create_dirs(name, &mut made);
        if outcome.is_err() {
            // The first error says more than one of cleaning up.
            let _cleaned = remove_dirs(&made, Duration::from_millis(100));
        }
        outcome
    }

    fn create_dirs(&self, name: &str, made: &mut Vec<PathBuf>) -> Result<CgroupSet, CgroupError> {
        for parent in &self.parents {
            let dir = parent.dir.join(name);
            if make_dir(&dir)? {
                let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
                return Err(CgroupError::file("create", &dir, exists));
            }
            made.push(dir);
        }
        let set = self.open_groups(made)?;
        limits::restrict_devices(&set)?;
        CgroupSet::new(name, set, &self.places)
    }

    /// Opens a set made earlier, also by another process with the same own group. `None` if there is no trace of
    /// it; where some of its directories are missing they are made again, empty, so that what is left can be
    /// frozen, killed and removed.
    ///
    /// # Errors
    ///
    /// The name is none, or the kernel refuses.
    pub fn open_set(&self, name: &str) -> Result<Option<CgroupSet>, CgroupError> {
        check_name(name)?;
        let dirs: Vec<PathBuf> = self.parents.iter().map(|parent| parent.dir.join(name)).collect();
        self.open_existing(name, &dirs)
    }

    /// Opens a set by the directories it said it has ([`CgroupSet::dirs`]), wherever this process lives now.
    /// Directories of hierarchies that are no longer there are left aside.
    ///
    /// # Errors
    ///
    /// As of [`open_set`](Self::open_set).
    pub fn open_dirs(&self, name: &str, dirs: &[PathBuf]) -> Result<Option<CgroupSet>, CgroupError> {
        self.open_existing(name, &self.dirs_of_parents(name, dirs)?)
    }

    /// The same for looking only: makes nothing, and answers `None` unless all of the set is there.
    ///
    /// # Errors
    ///
    /// As of [`open_set`](Self::open_set).
    pub fn look(&self, name: &str, dirs: &[PathBuf]) -> Result<Option<CgroupSet>, CgroupError> {
        let dirs = self.dirs_of_parents(name, dirs)?;
        if !dirs.iter().all(|dir| dir.is_dir()) {
            return Ok(None);
        }
        let groups = self.open_groups(&dirs)?;
        CgroupSet::new(name, groups, &self.places).map(Some)
    }

    fn dirs_of_parents(&self, name: &str, dirs: &[PathBuf]) -> Result<Vec<PathBuf>, CgroupError> {
        check_name(name)?;
        let of_parent = |parent: &Parent| {
            let known = dirs.iter().find(|dir| {
                dir.starts_with(&parent.mount_point) && dir.file_name().is_some_and(|last| last == name)
            });
            known.cloned().unwrap_or_else(|| parent.dir.join(name))
        };
        Ok(self.parents.iter().map(of_parent).collect())
    }

    fn open_existing(&self, name: &str, dirs: &[PathBuf]) -> Result<Option<CgroupSet>, CgroupError> {
        if !dirs.iter().any(|dir| dir.is_dir()) {
            return Ok(None);
        }
        for dir in dirs {
            std::fs::create_dir_all(dir).map_err(|source| CgroupError::file("create", dir, source))?;
        }
        let groups = self.open_groups(dirs)?;
        CgroupSet::new(name, groups, &self.places).map(Some)
    }

    fn open_groups(&self, dirs: &[PathBuf]) -> Result<Vec<Group>, CgroupError> {
        self.parents
            .iter()
            .zip(dirs)
            .map(|(parent, dir)| Group::open(parent.version, parent.controllers.clone(), dir.clone()))
            .collect()
    }

    /// The names of all sets under the parent group, in any hierarchy, sorted.
    ///
    /// # Errors
    ///
    /// A parent group cannot be read.
    pub fn list(&self) -> Result<Vec<String>, CgroupError> {
        let mut names = Vec::new();
        for parent in &self.parents {
            for child in children(&parent.dir)? {
                names.extend(child.file_name().and_then(|name| name.to_str()).map(str::to_owned));
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The name of the owner's set for `what`; `what` itself where no owner was given.
    pub fn own_name(&self, what: &str) -> String {
        self.owner.as_ref().map_or_else(|| what.to_owned(), |owner| format!("{owner}{OWNED}{what}"))
    }

    /// Whether the name is one of the owner's sets'; any is where no owner was given.
    pub fn is_own(&self, name: &str) -> bool {
        self.owner
            .as_ref()
            .is_none_or(|owner| name.strip_prefix(owner).is_some_and(|rest| rest.starts_with(OWNED)))
    }

    /// What the owner's sets are for, sorted: those of other owners, and of nobody, are left out.
    ///
    /// # Errors
    ///
    /// As of [`list`](Self::list).
    pub fn list_own(&self) -> Result<Vec<String>, CgroupError> {
        let names = self.list()?;
        let Some(owner) = &self.owner else { return Ok(names) };
        let own = |name: &String| name.strip_prefix(owner)?.strip_prefix(OWNED).map(str::to_owned);
        Ok(names.iter().filter_map(own).collect())
    }

    /// Removes the parent groups themselves. Sets that are left make it fail (`ResourceBusy`).
    ///
    /// # Errors
    ///
    /// Sets are left (`ResourceBusy`), or the kernel refuses.
    pub fn remove_parents(self) -> Result<(), CgroupError> {
        self.parents.iter().try_for_each(|parent| remove_dir(&parent.dir))
    }
}

/// An owner's name cannot hold what ends it in the names of its sets.
fn is_sound_owner(owner: &str) -> bool {
    (1..=OWNER_BYTES).contains(&owner.len()) && owner.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Names become one path component in every hierarchy.
fn check_name(name: &str) -> Result<(), CgroupError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // The kernel's own files all have a dot in their name; `tasks` and the like cannot be made as directories.
    let sound =
        !name.is_empty() && name.len() <= NAME_BYTES && !name.starts_with('.') && name.bytes().all(plain);
    if sound { Ok(()) } else { Err(CgroupError::InvalidName(name.to_owned())) }
}
