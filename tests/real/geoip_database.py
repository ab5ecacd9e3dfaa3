"""Writes the database the tests of the step `geoip` read: pip install mmdb-writer; python3 geoip_database.py OUT."""

import sys

from mmdb_writer import MMDBWriter
from netaddr import IPSet

writer = MMDBWriter(ip_version=6, database_type="Daybook-Test", languages=["en"], ipv4_compatible=True)
berlin = {
    "city": {"names": {"en": "Berlin", "de": "Berlin"}},
    "continent": {"code": "EU", "names": {"en": "Europe"}},
    "country": {"iso_code": "DE", "names": {"en": "Germany"}},
    "subdivisions": [{"iso_code": "BE", "names": {"en": "Land Berlin"}}],
    "location": {"latitude": 52.5, "longitude": 13.4, "time_zone": "Europe/Berlin"},
    "postal": {"code": "10115"},
    "autonomous_system_number": 64500,
    "autonomous_system_organization": "Example Net",
}
writer.insert_network(IPSet(["203.0.113.0/24"]), berlin)
writer.insert_network(IPSet(["2001:db8::/32"]), {"country": {"iso_code": "NZ"}})
writer.to_db_file(sys.argv[1])
