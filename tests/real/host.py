"""The source host against the machine itself. Started by host.sh with the path of a node exporter.

Readings of the node exporter before and after daybook's must enclose it: series by series, and none may be missing on either
side. Then load is made, and must be seen under the name of who makes it.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.request

from harness import Daybook, cpu_seconds, fail, free_ports, scenario, spawn, wait_for, workplace

NODE_EXPORTER = sys.argv[1]
COLLECTORS = ["cpu", "stat", "loadavg", "meminfo", "vmstat", "diskstats", "filesystem", "netdev", "filefd", "uname", "pressure", "time"]
# What only the node exporter tells: its own state, and what needs more than the texts daybook reads.
ONLY_THEIRS = re.compile(
    r"^(go_|process_|promhttp_|node_scrape_|node_exporter_|node_disk_(info|ata|device_mapper|filesystem)|"
    r"node_filesystem_(mount_info|purgeable)|node_time_(zone|clocksource)|node_cpu_(info|frequency|scaling|core|package|flag|bug|online|isolated)|"
    r"node_network_address|node_vmstat_pg(?!pg|fault|majfault)|node_pressure_irq)")
# Between two readings these may go up and down by more than what the two tell.
RESTLESS = re.compile(r"^node_(memory_(?!MemTotal|SwapTotal|Hugepagesize|HugePages|CommitLimit|Vmalloc|DirectMap)|procs_|load|filefd_alloc|"
                      r"disk_io_now|filesystem_(free|avail|files_free))")


def metrics_of(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as reply:
        return reply.read().decode()


def answers(port):
    try:
        return metrics_of(port)
    except OSError:
        return None


def series(port):
    """By name and labels; a label without a value is no label."""
    found = {}
    for line in metrics_of(port).splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = re.fullmatch(r"([a-z_A-Z0-9:]+)(?:\{(.*)\})? (\S+)", line).groups()
        labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")
        key = (name, *sorted(f"{label}={value}" for label, value in labels if value))
        if key in found:
            fail(f"{key} comes twice")
        found[key] = float(value)
    return found


def check_against_node_exporter(port, exporter):
    before = series(exporter)
    time.sleep(0.6)  # Past what daybook would tell again.
    ours = {key: value for key, value in series(port).items() if key[0].startswith("node_")}
    after = series(exporter)
    theirs = {key for key in before.keys() & after.keys() if not ONLY_THEIRS.match(key[0])}
    for key in [key for key in theirs if key[0] == "node_filesystem_readonly"]:
        # It looks at a part of the options only; the kernel says what holds.
        mount = next(label.removeprefix("mountpoint=") for label in key if label.startswith("mountpoint="))
        before[key] = after[key] = float(bool(os.statvfs(mount).f_flag & os.ST_RDONLY))
    # It knows its names of memory one by one; the kernel has more.
    more = {key for key in ours.keys() - before.keys() - after.keys() if not key[0].startswith("node_memory_")}
    for what, keys in [("daybook lacks", theirs - ours.keys()), ("the node exporter lacks", more)]:
        if keys:
            fail(f"{what} {len(keys)} series: {sorted(keys)[:10]}")
    for key in theirs:
        low, high = sorted([before[key], after[key]])
        slack = max(0.2 * high, 64 << 20 if "bytes" in key[0] else 60) if RESTLESS.match(key[0]) else 1e-6 * high
        if not low - slack <= ours[key] <= high + slack:
            fail(f"{key}: {ours[key]} is not between {low} and {high}")
    names = {key[0] for key in theirs}
    for name in ["node_cpu_seconds_total", "node_memory_MemAvailable_bytes", "node_network_receive_bytes_total", "node_load1",
                 "node_filesystem_avail_bytes", "node_uname_info", "node_boot_time_seconds"]:
        if name not in names:
            fail(f"the node exporter does not tell {name}; nothing was compared")
    print(f"  node exporter: {len(theirs)} series of {len(names)} names are the same")
    return ours


def check_against_tools(ours):
    memory = next(line.split() for line in subprocess.check_output(["free", "-b"], text=True).splitlines() if line.startswith("Mem"))
    total, available = int(memory[1]), int(memory[6])
    if ours[("node_memory_MemTotal_bytes",)] != total:
        fail(f"free tells {total} bytes of memory, daybook {ours[('node_memory_MemTotal_bytes',)]}")
    if abs(ours[("node_memory_MemAvailable_bytes",)] - available) > 0.1 * total:
        fail(f"free tells {available} bytes available, daybook {ours[('node_memory_MemAvailable_bytes',)]}")
    compared = 0
    for line in subprocess.check_output(["df", "-P", "-B1", "-T"], text=True).splitlines()[1:]:
        device, kind, size, _, available, _, mount = line.split(None, 6)
        key = (f"device={device}", f"fstype={kind}", f"mountpoint={mount}")
        found = ours.get(("node_filesystem_size_bytes", *key))
        if found is None:
            continue
        compared += 1
        if found != int(size) or abs(ours[("node_filesystem_avail_bytes", *key)] - int(available)) > 0.05 * int(size) + (64 << 20):
            fail(f"df tells {line}, daybook {found} and {ours[('node_filesystem_avail_bytes', *key)]}")
    if compared == 0:
        fail("df and daybook have no file system in common")
    print(f"  free and df: the same, {compared} file systems")


def check_process(daybook):
    """Daybook itself, against ps."""
    found, pid = series(daybook.ports.http), daybook.process.pid
    resident, threads = subprocess.check_output(["ps", "-o", "rss=,nlwp=", "-p", str(pid)], text=True).split()
    name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    others = len(subprocess.run(["ps", "-C", name, "-o", "pid="], capture_output=True, text=True).stdout.split())
    count = found.get(("namedprocess_namegroup_num_procs", f"groupname={name}"))
    if count is None or count < 1 or abs(count - others) > 2:
        fail(f"ps tells {others} processes called {name}, daybook {count}")
    told = found[("namedprocess_namegroup_memory_bytes", f"groupname={name}", "memtype=resident")]
    if told < int(resident) * 1024 * 0.7 or found[("namedprocess_namegroup_num_threads", f"groupname={name}")] < int(threads) * 0.7:
        fail(f"ps tells {resident} kB in {threads} threads of daybook, daybook {told} bytes")


def check_load(daybook, work):
    """A program that does nothing but work is told by its name, as a counter and as a share of a processor."""
    burner = work / "burner"
    shutil.copy(shutil.which("yes"), burner)
    def count(query):
        return daybook.count({"query_string": {"query": f"process.name:burner AND {query}"}}, "host-metrics*")

    started = time.monotonic()
    process = spawn([burner], "/dev/null")
    wait_for("documents about the burner", lambda: count("system.process.cpu.total.pct:>0.2") >= 2)
    found, seconds = series(daybook.ports.http), time.monotonic() - started
    spent = cpu_seconds(process)
    process.kill()
    process.wait()
    told = sum(found[("namedprocess_namegroup_cpu_seconds_total", "groupname=burner", f"mode={mode}")] for mode in ("user", "system"))
    if not max(0.2, spent - 1.5) <= told <= spent + 0.05:
        fail(f"the burner used {spent} s, daybook tells {told} s")
    too_much = count("system.process.cpu.total.pct:>1.3")
    if too_much:
        fail(f"{too_much} documents tell of more than the one processor that the burner can use")
    print(f"  a program that works: {told:.2f} s of {seconds:.2f} s told by counter, its share by documents")


def check_documents(daybook):
    """What a dashboard asks: shares over time, by file system and so on."""
    total = int(subprocess.check_output(["free", "-b"], text=True).splitlines()[1].split()[1])
    question = {"size": 0, "aggs": {"kinds": {"terms": {"field": "event.dataset", "size": 20}, "aggs": {
        "busy": {"max": {"field": "system.cpu.total.pct"}}, "memory": {"min": {"field": "system.memory.total"}},
        "over_time": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1s", "min_doc_count": 1}}}}}}
    reply = daybook.get("/host-metrics*/_search", question)
    kinds = {bucket["key"]: bucket for bucket in reply["aggregations"]["kinds"]["buckets"]}
    for kind in ["host.cpu", "host.memory", "host.filesystem", "host.network", "host.process"]:
        if kind not in kinds:
            fail(f"there are documents about {sorted(kinds)}, none about {kind}")
    busy = kinds["host.cpu"]["busy"]["value"]
    if not 0.05 < busy <= 1.0:
        fail(f"under load the processors were busy to at most {busy}")
    if kinds["host.memory"]["memory"]["value"] != total:
        fail(f"free tells {total} bytes of memory, a document {kinds['host.memory']['memory']['value']}")
    if len(kinds["host.cpu"]["over_time"]["buckets"]) < 2:
        fail("there are documents of one moment only")
    assert daybook.settled_books("machine")["received"] > 0
    print(f"  documents: { {kind: bucket['doc_count'] for kind, bucket in kinds.items()} }")


def main(work):
    exporter, = free_ports(1)
    spawn([NODE_EXPORTER, f"--web.listen-address=127.0.0.1:{exporter}", "--collector.disable-defaults", "--no-collector.netdev.netlink",
           *[f"--collector.{name}" for name in COLLECTORS]], work / "node_exporter.log")
    wait_for("the node exporter", lambda: answers(exporter))
    daybook = Daybook(work / "daybook", "machine: { type: host, processes: 50 }").start()
    with scenario("beside the node exporter, free, df and ps"):
        ours = check_against_node_exporter(daybook.ports.http, exporter)
        check_against_tools(ours)
        check_process(daybook)
    time.sleep(1)
    if daybook.count(index="*") != 0:
        fail("documents were written that nobody wanted")
    daybook.stop()
    daybook.configure("machine: { type: host, documents: true, interval: 1s }")
    daybook.start()
    with scenario("load"):
        check_load(daybook, work)
        check_documents(daybook)
    daybook.stop()


with workplace() as work:
    main(work)
