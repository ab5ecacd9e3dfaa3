//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)), and how full each mount is, by statvfs(3).

use std::path::{Path, PathBuf};

use super::sample::Kind::Gauge;
use super::sample::{Column, Family, families};

/// More are left out, which is counted.
pub const MOUNTS_MAX: usize = 64;
const PATH_BYTES_MAX: usize = 512;

/// Types whose sizes tell nothing. `nfs` and its like are missing too: a server that is away would hold the reading up.
const TYPES_LEFT_OUT: [&str; 41] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ncpfs",
    "9p",
    "afs",
    "ceph",
    "gfs2",
    "glusterfs",
    "lustre",
    "ocfs2",
    "gpfs",
    "beegfs",
    "coda",
    "virtiofs",
];

/// Folders whose mounts are the system's or a container's.
const FOLDERS_LEFT_OUT: [&str; 6] = [
    "/dev",
    "/proc",
    "/sys",
    "/run/credentials",
    "/var/lib/docker",
    "/var/lib/containers/storage",
];

/// Where a file system is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `/dev/sda1`, or what stands for a device.
    pub device: String,
    /// `ext4`.
    pub kind: String,
    /// `/var/lib`.
    pub mount_point: String,
    is_read_only: bool,
}

/// How full it is. Bytes, and files for the last two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub size: u64,
    /// What is not used.
    pub free: u64,
    /// What of this is there for everybody.
    pub available: u64,
    files: u64,
    files_free: u64,
}

/// A mount, and its space where the kernel tells it.
pub type FileSystem = (Mount, Option<Space>);

/// Mounts worth looking at, without those in folders of the system, and how many were left out.
///
/// `root` is where the machine's `/` is seen from here; mounts beside it are left out.
pub fn mounts(text: &str, root: &str) -> (Vec<Mount>, usize) {
    let (mut mounts, mut left_out) = (Vec::<Mount>::new(), 0);
    for line in text.lines() {
        let Some(mount) = mount(line, root) else {
            continue;
        };
        // What is mounted later at the same place hides what was there.
        mounts.retain(|earlier| earlier.mount_point != mount.mount_point);
        match mounts.len() {
            MOUNTS_MAX => left_out += 1,
            _ => mounts.push(mount),
        }
    }
    (mounts, left_out)
}

fn mount(line: &str, root: &str) -> Option<Mount> {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let (place, source) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(4);
    let (path, options) = (unescape(place.next()?)?, place.next()?);
    let mut source = source.split(' ');
    let (kind, device) = (source.next()?, unescape(source.next()?)?);
    let super_options = source.next().unwrap_or_default();
    let is_left_out = TYPES_LEFT_OUT.contains(&kind) || kind.starts_with("fuse.");
    if is_left_out || path.len() > PATH_BYTES_MAX || device.len() > PATH_BYTES_MAX {
        return None;
    }
    let mount_point = below(&path, root)?;
    if FOLDERS_LEFT_OUT
        .iter()
        .any(|folder| below(&mount_point, folder).is_some())
    {
        return None;
    }
    let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        device,
        kind: kind.to_owned(),
        mount_point,
        is_read_only: is_read_only(options) || is_read_only(super_options),
    })
}

/// `/host/var` below `/host` is `/var`.
fn below(path: &str, folder: &str) -> Option<String> {
    let folder = folder.trim_end_matches('/');
    let rest = path.strip_prefix(folder)?;
    match rest {
        "" => Some("/".to_owned()),
        _ => rest.starts_with('/').then(|| rest.to_owned()),
    }
}

/// Blanks, tabs, line ends and backslashes are written as `\040` and so on.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.first_chunk::<3>();
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Asks the kernel. May take long where a device does not answer.
pub fn space(mount: &Mount, root: &Path) -> Option<Space> {
    let path: PathBuf = root.join(mount.mount_point.trim_start_matches('/'));
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some(Space {
        size: bytes(stat.f_blocks),
        free: bytes(stat.f_bfree),
        available: bytes(stat.f_bavail),
        files: stat.f_files,
        files_free: stat.f_ffree,
    })
}

pub fn file_system_families(file_systems: &[FileSystem]) -> Vec<Family> {
    let columns: [Column<FileSystem>; 7] = [
        (
            "node_filesystem_size_bytes",
            Gauge,
            "Size in bytes.",
            |(_, space)| Some(space.as_ref()?.size as f64),
        ),
        (
            "node_filesystem_free_bytes",
            Gauge,
            "Bytes not used.",
            |(_, space)| Some(space.as_ref()?.free as f64),
        ),
        (
            "node_filesystem_avail_bytes",
            Gauge,
            "Bytes not used that are there for everybody.",
            |(_, space)| Some(space.as_ref()?.available as f64),
        ),
        (
            "node_filesystem_files",
            Gauge,
            "Files there can be.",
            |(_, space)| Some(space.as_ref()?.files as f64),
        ),
        (
            "node_filesystem_files_free",
            Gauge,
            "Files there can be more of.",
            |(_, space)| Some(space.as_ref()?.files_free as f64),
        ),
        (
            "node_filesystem_readonly",
            Gauge,
            "1 when nothing can be written.",
            |(mount, _)| Some(f64::from(u8::from(mount.is_read_only))),
        ),
        (
            "node_filesystem_device_error",
            Gauge,
            "1 when the kernel does not tell the space.",
            |(_, space)| Some(f64::from(u8::from(space.is_none()))),
        ),
    ];
    families(&columns, file_systems, |(mount, _)| {
        vec![
            ("device", mount.device.clone()),
            ("fstype", mount.kind.clone()),
            ("mountpoint", mount.mount_point.clone()),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n\
        28 27 0:25 / /mnt/my\\040disk ro,nosuid - tmpfs none rw,size=4k\n\
        29 27 0:26 / /var/lib/docker/overlay2/x/merged rw - ext4 /dev/vdb rw\n\
        30 27 0:27 / /var/lib/dockers rw - ext4 /dev/vdc ro\n\
        31 27 0:28 / /home rw - nfs4 server:/home rw\n\
        32 27 0:29 / /mnt/my\\040disk rw - xfs /dev/vdd rw\n\
        broken\n";

    #[test]
    fn mounts_of_the_system_of_containers_and_of_servers_are_left_out() {
        let (mounts, left_out) = mounts(MOUNTINFO, "/");
        let mounts: Vec<(&str, &str, bool)> = mounts
            .iter()
            .map(|mount| (&*mount.device, &*mount.mount_point, mount.is_read_only))
            .collect();
        assert_eq!(
            mounts,
            [
                ("/dev/vda", "/", false),
                ("/dev/vdc", "/var/lib/dockers", true),
                ("/dev/vdd", "/mnt/my disk", false)
            ]
        );
        assert_eq!(left_out, 0);
    }

    #[test]
    fn a_machine_may_be_seen_from_a_container() {
        let text = "1 0 254:0 / / rw - ext4 /dev/vdx rw\n2 1 254:0 / /host rw - ext4 /dev/vda rw\n\
            3 2 254:1 / /host/srv rw - ext4 /dev/vdb rw\n4 2 254:1 / /hosts rw - ext4 /dev/vdc rw\n";
        let (mounts, _) = mounts(text, "/host");
        let points: Vec<&str> = mounts.iter().map(|mount| &*mount.mount_point).collect();
        assert_eq!(points, ["/", "/srv"]);
    }

    #[test]
    fn the_kernel_tells_the_space_of_the_root() {
        let (mounts, _) = mounts("27 1 254:0 / / rw - ext4 /dev/vda rw", "/");
        let space = space(&mounts[0], Path::new("/")).unwrap();
        assert!(space.size >= space.free && space.free >= space.available);
        let families = file_system_families(&[(mounts[0].clone(), Some(space))]);
        let names: Vec<&str> = families.iter().map(|family| &*family.name).collect();
        assert_eq!(names.len(), 7, "{names:?}");
        let no_space = file_system_families(&[(mounts[0].clone(), None)]);
        assert_eq!(no_space.len(), 2);
        assert_eq!(no_space[1].samples[0].value, 1.0, "device_error");
    }
}
