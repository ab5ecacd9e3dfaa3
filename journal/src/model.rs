//! A file system in memory that loses power, dies, fills up and fails: the test double of `file_system.rs`.
//!
//! What was not synced may be lost in any combination: whole calls or single blocks, content apart from length, names
//! in any order. After a failed sync, what it should have written is on the disk or not, and no later sync writes it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::file_system::{File, FileSystem};

/// A disk. Clones share it.
#[derive(Clone)]
pub struct ModelDisk(Arc<Mutex<Disk>>);

/// Numbers from a seed (SplitMix64): a failed test is repeated by its seed alone.
#[derive(Debug, Clone)]
pub struct Random(u64);

struct Disk {
    random: Random,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<NameChange>,
    /// Counted at every power loss: handles from before are dead.
    boot: u64,
    calls_until_death: Option<u64>,
    syncs_until_failure: Option<u64>,
    /// How many syncs in a row fail then, and whether the process dies behind the first of them.
    sync_failures: u64,
    dies_after_failed_sync: bool,
    capacity_bytes: Option<u64>,
    can_reserve: bool,
    unreadable: Option<(PathBuf, std::ops::Range<u64>)>,
}

#[derive(Default)]
struct Inode {
    /// As programs see it.
    content: Vec<u8>,
    reserved_bytes: u64,
    /// As the disk has it.
    durable: Vec<u8>,
    /// As the disk will have it after the next sync: differs from `content` after a failed one.
    written: Vec<u8>,
    /// `written` after each call since the last sync.
    unsynced: Vec<Vec<u8>>,
}

#[derive(Clone)]
enum NameChange {
    Set(PathBuf, usize),
    Move(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

struct ModelFile {
    disk: ModelDisk,
    inode: usize,
    boot: u64,
    is_writable: bool,
}

impl Random {
    /// A sequence of its own for every seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

impl ModelDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> ModelDisk {
        ModelDisk(Arc::new(Mutex::new(Disk {
            random: Random::new(seed),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            boot: 0,
            calls_until_death: None,
            syncs_until_failure: None,
            sync_failures: 0,
            dies_after_failed_sync: false,
            capacity_bytes: None,
            can_reserve: true,
            unreadable: None,
        })))
    }

    /// A disk with these files, all durable.
    pub fn with_files(seed: u64, files: &BTreeMap<PathBuf, Vec<u8>>) -> ModelDisk {
        let disk = ModelDisk::new(seed);
        let mut inner = disk.lock();
        for (at, (path, content)) in files.iter().enumerate() {
            inner.inodes.push(Inode {
                content: content.clone(),
                durable: content.clone(),
                written: content.clone(),
                ..Inode::default()
            });
            inner.names.insert(path.clone(), at);
        }
        inner.durable_names = inner.names.clone();
        drop(inner);
        disk
    }

    /// All files as programs see them.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = self.lock();
        let content_of =
            |(path, inode): (&PathBuf, &usize)| (path.clone(), disk.inodes[*inode].content.clone());
        disk.names.iter().map(content_of).collect()
    }

    /// After so many calls that change something, the process dies: that call may be done in part, and every later
    /// one fails.
    pub fn die_after(&self, calls: u64) {
        self.lock().calls_until_death = Some(calls);
    }

    /// Whether the process died.
    pub fn is_dead(&self) -> bool {
        self.lock().calls_until_death == Some(0)
    }

    /// A new process on the same running machine: nothing is lost, nothing more is durable.
    pub fn restart_process(&self) {
        let mut disk = self.lock();
        disk.calls_until_death = None;
        disk.boot += 1;
    }

    /// The machine loses power and starts again.
    pub fn lose_power(&self) {
        let mut disk = self.lock();
        disk.calls_until_death = None;
        disk.boot += 1;
        disk.lose_names();
        let Disk { inodes, random, .. } = &mut *disk;
        for inode in inodes {
            inode.lose_power(random);
        }
    }

    /// After so many successful syncs, `failures` of them fail.
    pub fn fail_syncs(&self, after: u64, failures: u64) {
        let mut disk = self.lock();
        disk.syncs_until_failure = Some(after);
        disk.sync_failures = failures;
        disk.dies_after_failed_sync = false;
    }

    /// After so many successful syncs, one fails and the process dies before it can do anything about it.
    pub fn fail_sync_and_die(&self, after: u64) {
        self.fail_syncs(after, 1);
        self.lock().dies_after_failed_sync = true;
    }

    /// No sync fails any more.
    pub fn heal(&self) {
        self.lock().syncs_until_failure = None;
    }

    /// How much fits; `None` for no bound.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity_bytes = bytes;
    }

    /// Whether room can be reserved; otherwise a full disk shows in the midst of a write.
    pub fn set_can_reserve(&self, can_reserve: bool) {
        self.lock().can_reserve = can_reserve;
    }

    /// Bytes that all files occupy.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }

    /// Reading any of these bytes fails with EIO.
    pub fn make_unreadable(&self, path: &Path, bytes: std::ops::Range<u64>) {
        self.lock().unreadable = Some((path.to_owned(), bytes));
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn handle(&self, disk: &Disk, inode: usize, is_writable: bool) -> Arc<dyn File> {
        Arc::new(ModelFile {
            disk: self.clone(),
            inode,
            boot: disk.boot,
            is_writable,
        })
    }
}

impl Disk {
    /// Counts a call that changes something. `Ok(true)`: the process dies in the midst of it.
    fn step(&mut self) -> io::Result<bool> {
        match &mut self.calls_until_death {
            None => Ok(false),
            Some(0) => Err(died()),
            Some(calls) => {
                *calls -= 1;
                Ok(*calls == 0)
            }
        }
    }

    fn inode_of(&self, path: &Path) -> io::Result<usize> {
        if self.calls_until_death == Some(0) {
            return Err(died());
        }
        self.names
            .get(path)
            .copied()
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    /// Each change since the last sync is there or not.
    fn lose_names(&mut self) {
        for change in std::mem::take(&mut self.unsynced_names) {
            if self.random.once_in(2) {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
    }

    fn used_bytes(&self) -> u64 {
        let occupied = |inode: &usize| {
            let inode = &self.inodes[*inode];
            inode.reserved_bytes.max(inode.content.len() as u64)
        };
        self.names.values().map(occupied).sum()
    }

    fn free_bytes(&self) -> u64 {
        match self.capacity_bytes {
            Some(capacity) => capacity.saturating_sub(self.used_bytes()),
            None => u64::MAX,
        }
    }

    fn sync_fails(&mut self) -> bool {
        match self.syncs_until_failure {
            None => false,
            Some(0) => {
                self.sync_failures = self.sync_failures.saturating_sub(1);
                if self.sync_failures == 0 {
                    self.syncs_until_failure = None;
                }
                if self.dies_after_failed_sync {
                    self.calls_until_death = Some(0);
                }
                true
            }
            Some(syncs) => {
                self.syncs_until_failure = Some(syncs - 1);
                false
            }
        }
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        let dies = self.step()?;
        if dies {
            return Err(died());
        }
        let fails = self.sync_fails();
        let Disk { inodes, random, .. } = self;
        let inode = &mut inodes[inode];
        if fails {
            inode.durable = inode.mix_of_versions(random);
            // The system takes its pages for written now. Only what is written anew will reach the disk, and
            // `content` shows what the disk does not have.
            inode.written = inode.durable.clone();
            inode.unsynced.clear();
            return Err(io::Error::from_raw_os_error(5));
        }
        inode.sync();
        Ok(())
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            NameChange::Set(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Move(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        for image in [&mut self.content, &mut self.written] {
            if image.len() < end {
                image.resize(end, 0);
            }
            image[offset..end].copy_from_slice(bytes);
        }
        self.unsynced.push(self.written.clone());
    }

    fn set_len(&mut self, byte_len: usize) {
        self.content.resize(byte_len, 0);
        self.written.resize(byte_len, 0);
        self.reserved_bytes = 0;
        self.unsynced.push(self.written.clone());
    }

    fn sync(&mut self) {
        self.unsynced.clear();
        self.durable = self.written.clone();
    }

    fn lose_power(&mut self, random: &mut Random) {
        self.durable = self.mix_of_versions(random);
        self.content = self.durable.clone();
        self.written = self.durable.clone();
        self.reserved_bytes = 0;
        self.unsynced.clear();
    }

    /// What the disk may have: of each block any version since the last sync, of the length any one too.
    fn mix_of_versions(&self, random: &mut Random) -> Vec<u8> {
        let version = |at: usize| {
            if at == 0 {
                &self.durable
            } else {
                &self.unsynced[at - 1]
            }
        };
        let version_count = self.unsynced.len() + 1;
        let any_version = |random: &mut Random| random.below(version_count as u64) as usize;
        match random.below(7) {
            0 => return self.durable.clone(),
            1 => return version(any_version(random)).clone(),
            2 => {
                // The newest, cut at any byte that is not durable.
                let newest = version(version_count - 1);
                let kept_min = newest.len().min(self.durable.len());
                let cut = random.below((newest.len() - kept_min) as u64 + 1) as usize;
                return newest[..kept_min + cut].to_vec();
            }
            3 => {
                // Early blocks of one version and late ones of another.
                let early = version(any_version(random));
                let late = version(any_version(random));
                let split = random.below(late.len() as u64 / 16 + 1) as usize * 16;
                let mut mixed = early[..split.min(early.len())].to_vec();
                mixed.resize(split, 0);
                mixed.extend_from_slice(&late[split..]);
                return mixed;
            }
            _ => {}
        }
        let block_bytes = [1, 16, 512, 4096][random.below(4) as usize];
        let is_garbage_left = random.once_in(4);
        let byte_len = version(any_version(random)).len();
        let mut mixed = Vec::with_capacity(byte_len);
        while mixed.len() < byte_len {
            let from = mixed.len();
            let to = byte_len.min(from + block_bytes);
            let chosen = version(any_version(random));
            let available = chosen.get(from..to.min(chosen.len())).unwrap_or_default();
            mixed.extend_from_slice(available);
            while mixed.len() < to {
                mixed.push(if is_garbage_left {
                    random.number() as u8
                } else {
                    0
                });
            }
        }
        mixed
    }
}

impl FileSystem for ModelDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn file_names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.lock();
        if disk.calls_until_death == Some(0) {
            return Err(died());
        }
        let in_dir = disk.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(in_dir
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.lock();
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let dies = disk.step()?;
        let inode = disk.inodes.len();
        disk.inodes.push(Inode::default());
        disk.change_names(NameChange::Set(path.to_owned(), inode));
        if dies {
            return Err(died());
        }
        Ok(self.handle(&disk, inode, true))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let disk = self.lock();
        let inode = disk.inode_of(path)?;
        Ok(self.handle(&disk, inode, true))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let disk = self.lock();
        let inode = disk.inode_of(path)?;
        Ok(self.handle(&disk, inode, false))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        let inode = disk.inode_of(from)?;
        let dies = disk.step()?;
        disk.change_names(NameChange::Move(from.to_owned(), to.to_owned(), inode));
        if dies { Err(died()) } else { Ok(()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        disk.inode_of(path)?;
        let dies = disk.step()?;
        disk.change_names(NameChange::Remove(path.to_owned()));
        if dies { Err(died()) } else { Ok(()) }
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.step()? {
            return Err(died());
        }
        if disk.sync_fails() {
            return Err(io::Error::from_raw_os_error(5));
        }
        disk.unsynced_names.clear();
        disk.durable_names = disk.names.clone();
        Ok(())
    }
}

impl ModelFile {
    fn lock(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk.lock();
        let is_alive = disk.boot == self.boot && disk.calls_until_death != Some(0);
        if is_alive { Ok(disk) } else { Err(died()) }
    }

    fn lock_to_write(&self) -> io::Result<MutexGuard<'_, Disk>> {
        if !self.is_writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.lock()
    }
}

impl File for ModelFile {
    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.lock()?.inodes[self.inode].content.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.lock()?;
        if let Some((path, bytes)) = &disk.unreadable {
            let is_this = disk.names.get(path) == Some(&self.inode);
            let is_hit = offset < bytes.end && offset + buffer.len() as u64 > bytes.start;
            if is_this && is_hit {
                return Err(io::Error::from_raw_os_error(5));
            }
        }
        let content = &disk.inodes[self.inode].content;
        let available = content.get(offset as usize..).unwrap_or_default();
        let read = available.len().min(buffer.len());
        buffer[..read].copy_from_slice(&available[..read]);
        Ok(read)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.lock_to_write()?;
        let dies = disk.step()?;
        let free_bytes = disk.free_bytes();
        let Disk { inodes, random, .. } = &mut *disk;
        let inode = &mut inodes[self.inode];
        let occupied_bytes = inode.reserved_bytes.max(inode.content.len() as u64);
        let end_max = occupied_bytes.saturating_add(free_bytes);
        let end = offset + bytes.len() as u64;
        let is_full = end > end_max;
        let mut written = (end.min(end_max) - offset.min(end_max)) as usize;
        if dies {
            written = random.below(written as u64 + 1) as usize;
        }
        inode.write(&bytes[..written], offset as usize);
        match (dies, is_full) {
            (true, _) => Err(died()),
            (_, true) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn reserve(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let mut disk = self.lock_to_write()?;
        if !disk.can_reserve {
            return Ok(());
        }
        let free_bytes = disk.free_bytes();
        let inode = &mut disk.inodes[self.inode];
        let occupied_bytes = inode.reserved_bytes.max(inode.content.len() as u64);
        if offset + bytes > occupied_bytes.saturating_add(free_bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inode.reserved_bytes = occupied_bytes.max(offset + bytes);
        Ok(())
    }

    fn set_len(&self, byte_len: u64) -> io::Result<()> {
        let mut disk = self.lock_to_write()?;
        let dies = disk.step()?;
        let inode = &mut disk.inodes[self.inode];
        inode.set_len(byte_len as usize);
        if dies { Err(died()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.lock_to_write()?;
        disk.sync(self.inode)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn forget_cached(&self) -> io::Result<()> {
        let mut disk = self.lock()?;
        let inode = &mut disk.inodes[self.inode];
        inode.content = inode.written.clone();
        Ok(())
    }
}

fn died() -> io::Error {
    io::Error::other("the process died")
}
