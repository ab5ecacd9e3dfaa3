//! Datagrams: several sockets on one address, a thread for each that does nothing but empty it, and the count of what
//! the kernel had to throw away.
//!
//! The threads put datagrams on a [`Shelf`], from which the source takes them all at once. A full shelf stops the
//! threads; then the kernel's buffers fill, and what does not fit there is lost and counted: UDP cannot wait.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use tokio::sync::Notify;

/// The kernel's buffer of each socket: at 40,000 small datagrams a second, each of which costs it some 800 bytes, half a
/// second. Without rights it gives less (`net.core.rmem_max`).
const KERNEL_BUFFER_BYTES: usize = 16 << 20;

/// A socket with less than this is told about: it holds some hundred datagrams.
const KERNEL_BUFFER_BYTES_LOW: usize = 1 << 20;

/// Sockets on one address; the kernel gives all datagrams of one sender to the same one.
const SOCKETS_MAX: usize = 4;

/// Datagrams waiting for the source. As much again is in its hands.
const SHELF_BYTES: usize = 8 << 20;

/// What a datagram costs on the shelf beside its bytes.
const ENTRY_BYTES: usize = size_of::<(usize, SocketAddr)>();

/// The largest datagram of IPv4 and IPv6 without jumbograms.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// The kernel writes its table by the number of the row: one is left out when a socket of somebody else goes meanwhile. Then
/// the table is read again, so often at most.
const READINGS_MAX: usize = 20;

/// How often a thread that hears nothing, or has no room, looks whether it should stop.
const LOOK_UP: Duration = Duration::from_millis(100);

/// After the stop is asked for, how long what the kernel holds is still read, whether the shelf is full or not.
const LAST_DATAGRAMS: Duration = Duration::from_millis(500);

/// Bound sockets that nobody reads yet.
#[derive(Debug)]
pub struct UdpSockets {
    sockets: Vec<UdpSocket>,
    address: SocketAddr,
}

/// Sockets that are being read.
pub struct UdpReader {
    shelf: Arc<Shelf>,
    threads: Vec<JoinHandle<()>>,
    drops: UdpDrops,
}

/// The count of what the kernel threw away at some sockets, which it keeps open. Cheap to clone.
#[derive(Debug, Clone)]
pub struct UdpDrops(Arc<Mutex<KernelDrops>>);

/// Datagrams in the order they were read.
#[derive(Debug, Default)]
pub struct Datagrams {
    bytes: Vec<u8>,
    /// Where each ends in `bytes`, and who sent it.
    ends: Vec<(usize, SocketAddr)>,
}

/// What the threads fill and the source empties.
#[derive(Debug, Default)]
struct Shelf {
    // Held for a copy of one datagram, or an exchange; never across an await.
    datagrams: Mutex<Datagrams>,
    has_room: Condvar,
    has_some: Notify,
    is_stopping: AtomicBool,
}

/// How many datagrams the kernel threw away at some sockets, from `/proc/net/udp`.
///
/// It is the count that `SO_RXQ_OVFL` attaches to the next datagram; read from there it is right also when no next
/// one comes, and needs no control messages.
#[derive(Debug)]
struct KernelDrops {
    /// Kept open: the count is gone with the socket.
    sockets: Vec<Arc<UdpSocket>>,
    inodes: Vec<u64>,
    /// What was told already, by socket.
    told: Vec<u32>,
}

impl UdpSockets {
    /// Opens an address with as many sockets as there are processors, at most four; port 0 becomes a free one.
    ///
    /// # Errors
    /// The address is taken, not ours, or needs rights we lack.
    pub fn bind(address: SocketAddr) -> io::Result<UdpSockets> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // Bound before it shares its address, so that an address somebody else has is noticed.
        let first = UdpSocket::bind(address)?;
        sockopt::set_socket_reuseport(&first, true)?;
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        while sockets.len() < processors.min(SOCKETS_MAX) {
            sockets.push(bind_another(address)?);
        }
        for socket in &sockets {
            enlarge_buffer(socket);
            socket.set_read_timeout(Some(LOOK_UP))?;
        }
        Ok(UdpSockets { sockets, address })
    }

    /// Where it listens, with the port it really has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to read.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn read(self) -> io::Result<UdpReader> {
        let sockets: Vec<_> = self.sockets.into_iter().map(Arc::new).collect();
        let drops = KernelDrops::of(sockets.clone())?;
        let shelf = Arc::new(Shelf::default());
        let mut threads = Vec::new();
        for socket in sockets {
            let (filled, thread) = (Arc::clone(&shelf), std::thread::Builder::new());
            let started = thread
                .name("udp".to_owned())
                .spawn(move || empty(&socket, &filled));
            // Those that have started must not read what nobody takes.
            let started = started.inspect_err(|_| shelf.is_stopping.store(true, Ordering::Relaxed));
            threads.push(started?);
        }
        Ok(UdpReader {
            shelf,
            threads,
            drops: UdpDrops(Arc::new(Mutex::new(drops))),
        })
    }
}

impl UdpReader {
    /// Waits for datagrams and takes all there are. Cancel safe.
    pub async fn take(&self) -> Datagrams {
        loop {
            let some = self.shelf.has_some.notified();
            let datagrams = self.shelf.take();
            if !datagrams.is_empty() {
                return datagrams;
            }
            some.await;
        }
    }

    /// The count of what the kernel throws away; it can be asked beside reading, and after the stop.
    pub fn drops(&self) -> UdpDrops {
        self.drops.clone()
    }

    /// Stops the threads, after they have read what the kernel holds, half a second at most; answers the last
    /// datagrams.
    pub async fn stop(self) -> Datagrams {
        let UdpReader { shelf, threads, .. } = self;
        shelf.is_stopping.store(true, Ordering::Relaxed);
        shelf.has_room.notify_all();
        let last = tokio::task::spawn_blocking(move || {
            for thread in threads {
                thread.join().ok();
            }
            shelf.take()
        });
        last.await.unwrap_or_default()
    }
}

impl UdpDrops {
    /// How many datagrams the kernel threw away since the last call.
    pub async fn news(&self) -> u64 {
        let drops = Arc::clone(&self.0);
        // The kernel writes its table while it is read, a row for each socket of the machine.
        let reading = tokio::task::spawn_blocking(move || {
            drops.lock().expect("no holder of this lock panics").news()
        });
        reading.await.unwrap_or_default()
    }
}

impl Datagrams {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// One of them with its sender.
    pub fn get(&self, at: usize) -> Option<(&[u8], SocketAddr)> {
        let (end, peer) = *self.ends.get(at)?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].0);
        Some((&self.bytes[start..end], peer))
    }

    /// Each with its sender.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// Cuts them into parts of about `bytes`, at least one datagram each.
    pub fn parts(self, bytes: usize) -> Vec<Datagrams> {
        if self.bytes.len() <= bytes {
            return vec![self];
        }
        let mut parts = vec![Datagrams::default()];
        for (text, peer) in self.iter() {
            let is_full = parts
                .last()
                .is_some_and(|part| !part.is_empty() && part.bytes.len() + text.len() > bytes);
            if is_full {
                parts.push(Datagrams::default());
            }
            if let Some(part) = parts.last_mut() {
                part.push(text, peer);
            }
        }
        parts
    }

    /// Their bytes in all.
    pub fn byte_size(&self) -> usize {
        self.bytes.len()
    }

    fn push(&mut self, text: &[u8], peer: SocketAddr) {
        self.bytes.extend_from_slice(text);
        self.ends.push((self.bytes.len(), peer));
    }

    fn cost(&self) -> usize {
        self.bytes.len() + self.ends.len() * ENTRY_BYTES
    }
}

impl Shelf {
    fn take(&self) -> Datagrams {
        let mut datagrams = self
            .datagrams
            .lock()
            .expect("no holder of this lock panics");
        let taken = std::mem::take(&mut *datagrams);
        drop(datagrams);
        if !taken.is_empty() {
            self.has_room.notify_all();
        }
        taken
    }

    /// Puts a datagram there once there is room, at the stop in any case.
    fn put(&self, text: &[u8], peer: SocketAddr) {
        let mut datagrams = self
            .datagrams
            .lock()
            .expect("no holder of this lock panics");
        while datagrams.cost() >= SHELF_BYTES && !self.is_stopping.load(Ordering::Relaxed) {
            let waited = self.has_room.wait_timeout(datagrams, LOOK_UP);
            datagrams = waited.expect("no holder of this lock panics").0;
        }
        let was_empty = datagrams.is_empty();
        datagrams.push(text, peer);
        drop(datagrams);
        if was_empty {
            self.has_some.notify_one();
        }
    }
}

impl KernelDrops {
    fn of(sockets: Vec<Arc<UdpSocket>>) -> io::Result<KernelDrops> {
        let inodes = sockets
            .iter()
            .map(|socket| Ok(rustix::fs::fstat(socket)?.st_ino));
        let inodes: Vec<u64> = inodes.collect::<io::Result<_>>()?;
        let told = vec![0; inodes.len()];
        Ok(KernelDrops {
            sockets,
            inodes,
            told,
        })
    }

    fn news(&mut self) -> u64 {
        debug_assert_eq!(self.sockets.len(), self.inodes.len());
        let mut is_missing = vec![true; self.inodes.len()];
        let mut news = 0;
        for _ in 0..READINGS_MAX {
            let tables = ["/proc/net/udp", "/proc/net/udp6"].map(fs::read_to_string);
            for line in tables.iter().flatten().flat_map(|table| table.lines()) {
                let Some((inode, drops)) = inode_and_drops(line) else {
                    continue;
                };
                if let Some(at) = self.inodes.iter().position(|own| *own == inode) {
                    // The kernel's count is of 32 bits and begins anew.
                    news += u64::from(drops.wrapping_sub(self.told[at]));
                    self.told[at] = drops;
                    is_missing[at] = false;
                }
            }
            if !is_missing.contains(&true) {
                break;
            }
        }
        news
    }
}

/// A row is `sl local remote st tx:rx tr:when retrnsmt uid timeout inode ref pointer drops`.
fn inode_and_drops(line: &str) -> Option<(u64, u32)> {
    let mut columns = line.split_ascii_whitespace();
    let inode = columns.nth(9)?.parse().ok()?;
    let drops: u64 = columns.nth(2)?.parse().ok()?;
    Some((inode, drops as u32))
}

fn bind_another(address: SocketAddr) -> io::Result<UdpSocket> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    Ok(UdpSocket::from(socket))
}

fn enlarge_buffer(socket: &UdpSocket) {
    // The first needs CAP_NET_ADMIN, the second gives what `net.core.rmem_max` allows.
    if sockopt::set_socket_recv_buffer_size_force(socket, KERNEL_BUFFER_BYTES).is_err() {
        sockopt::set_socket_recv_buffer_size(socket, KERNEL_BUFFER_BYTES).ok();
    }
    if let Ok(bytes) = sockopt::socket_recv_buffer_size(socket)
        && bytes < KERNEL_BUFFER_BYTES_LOW
    {
        tracing::info!(
            bytes,
            "the kernel's buffer for datagrams is small, bursts may be lost; set sysctl net.core.rmem_max=16777216"
        );
    }
}

/// What a thread does: from the socket to the shelf until the stop.
fn empty(socket: &UdpSocket, shelf: &Shelf) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    let mut stop_at: Option<Instant> = None;
    loop {
        if stop_at.is_none() && shelf.is_stopping.load(Ordering::Relaxed) {
            stop_at = Some(Instant::now() + LAST_DATAGRAMS);
            if socket.set_nonblocking(true).is_err() {
                return;
            }
        }
        if stop_at.is_some_and(|stop_at| Instant::now() >= stop_at) {
            return;
        }
        match socket.recv_from(&mut datagram) {
            Ok((length, peer)) => shelf.put(&datagram[..length], peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if stop_at.is_some() {
                    return;
                }
            }
            // An ICMP answer to something we never sent, a signal.
            Err(error) => tracing::debug!(%error, "cannot receive a datagram"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> UdpSockets {
        UdpSockets::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
    }

    #[tokio::test]
    async fn every_datagram_arrives_whole_with_its_sender() {
        let sockets = loopback();
        let address = sockets.address();
        let reader = sockets.read().unwrap();
        let senders: Vec<UdpSocket> = (0..8)
            .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
            .collect();
        for n in 0..400 {
            let sender = &senders[n % senders.len()];
            sender.send_to(format!("{n}").as_bytes(), address).unwrap();
        }
        let mut seen = Vec::new();
        while seen.len() < 400 {
            for (text, peer) in reader.take().await.iter() {
                let n: usize = std::str::from_utf8(text).unwrap().parse().unwrap();
                assert_eq!(peer, senders[n % senders.len()].local_addr().unwrap());
                seen.push(n);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..400).collect::<Vec<_>>());
        let drops = reader.drops();
        assert_eq!(reader.stop().await.len(), 0);
        assert_eq!(drops.news().await, 0);
    }

    #[tokio::test]
    async fn what_the_kernel_throws_away_is_counted() {
        let sockets = loopback();
        let address = sockets.address();
        for socket in &sockets.sockets {
            sockopt::set_socket_recv_buffer_size(socket, 4096).unwrap();
        }
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..1000 {
            sender.send_to(&[b'x'; 500], address).unwrap();
        }
        // Nobody has read yet: what did not fit is lost by now.
        let reader = sockets.read().unwrap();
        let drops = reader.drops();
        let dropped = drops.news().await;
        assert!(dropped > 900, "{dropped}");
        assert_eq!(drops.news().await, 0);
        let last = reader.stop().await;
        assert_eq!(last.len() as u64 + dropped, 1000);
    }

    #[test]
    fn the_count_is_whole_while_sockets_of_others_come_and_go() {
        let sockets = loopback();
        let address = sockets.address();
        for socket in &sockets.sockets {
            sockopt::set_socket_recv_buffer_size(socket, 4096).unwrap();
        }
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..1000 {
            sender.send_to(&[b'x'; 500], address).unwrap();
        }
        let sockets: Vec<_> = sockets.sockets.into_iter().map(Arc::new).collect();
        let count = || KernelDrops::of(sockets.clone()).unwrap().news();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let others = [(); 20].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
                    drop(others);
                }
            });
            let counts: Vec<u64> = (0..2000).map(|_| count()).collect();
            is_over.store(true, Ordering::Relaxed);
            let short = counts.iter().filter(|count| **count < 900).count();
            assert_eq!(short, 0, "of {}", counts.len());
        });
    }

    #[test]
    fn an_address_that_is_taken_is_not_shared() {
        let sockets = loopback();
        let error = UdpSockets::bind(sockets.address()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn parts_hold_all_datagrams_in_order() {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut all = Datagrams::default();
        for n in 0..10 {
            all.push(&[n; 30], peer);
        }
        let parts = all.parts(100);
        let sizes: Vec<usize> = parts.iter().map(Datagrams::len).collect();
        assert_eq!(sizes, [3, 3, 3, 1]);
        let firsts: Vec<u8> = parts
            .iter()
            .flat_map(|part| part.iter().map(|(text, _)| text[0]).collect::<Vec<_>>())
            .collect();
        assert_eq!(firsts, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn the_kernel_table_is_read() {
        let row = "14843: 0100007F:A640 00000000:0000 07 00000000:00001D40 00:00000000 00000000     0        0 441094 2 00000000377c3a68 991";
        assert_eq!(inode_and_drops(row), Some((441_094, 991)));
        assert_eq!(inode_and_drops("  sl  local_address rem_address"), None);
    }
}
