//! Says where an address is, from an offline MaxMind database: `geoip: { field: client.ip, database: /x/City.mmdb }`.
//!
//! The database is read into memory when the step is made ready; a newer one comes into force with a restart.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use event::{Document, Timestamp};
use maxminddb::Reader;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Transform, TransformError, Verdict, check_field, text_of};

/// Databases of this size and more are refused: the largest of MaxMind's own are half of it.
const DATABASE_BYTES_MAX: u64 = 1 << 30;

/// `geoip: { field: client.ip, database: /var/lib/GeoIP/GeoLite2-City.mmdb }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The field that holds the address.
    pub field: String,
    /// The database: City, Country, or ASN, of MaxMind or in its format.
    pub database: PathBuf,
    /// Where the answer goes: `TARGET.country_iso_code`, `.country_name`, `.city_name`, `.region_name`,
    /// `.continent_name`, `.postal_code`, `.timezone`, `.location`; `TARGET.as.number` and `.as.organization.name`.
    #[serde(default = "geo")]
    pub target: String,
}

/// The step, ready to run.
pub struct Geoip {
    field: String,
    target: String,
    reader: Reader<Vec<u8>>,
}

/// What is read of a record; other databases have parts of it.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    city: Option<Named<'a>>,
    #[serde(borrow)]
    continent: Option<Named<'a>>,
    #[serde(borrow)]
    country: Option<Named<'a>>,
    #[serde(borrow)]
    subdivisions: Option<Vec<Named<'a>>>,
    location: Option<Location<'a>>,
    #[serde(borrow)]
    postal: Option<Postal<'a>>,
    autonomous_system_number: Option<Whole>,
    autonomous_system_organization: Option<&'a str>,
}

#[derive(Deserialize)]
struct Named<'a> {
    iso_code: Option<&'a str>,
    #[serde(borrow)]
    names: Option<BTreeMap<&'a str, &'a str>>,
}

#[derive(Deserialize)]
struct Location<'a> {
    latitude: Option<f64>,
    longitude: Option<f64>,
    time_zone: Option<&'a str>,
}

#[derive(Deserialize)]
struct Postal<'a> {
    code: Option<&'a str>,
}

/// A whole number of whatever width the database writes.
struct Whole(u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Whole, D::Error> {
        deserializer.deserialize_any(WholeVisitor)
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = Whole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
        Ok(Whole(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Whole, E> {
        Ok(Whole(number.unsigned_abs()))
    }
}

impl Geoip {
    /// Reads the database.
    ///
    /// # Errors
    /// It cannot be read, is too large, or is no such database.
    pub fn compile(settings: &Settings) -> Result<Geoip, String> {
        check_field(&settings.field)?;
        check_field(&settings.target)?;
        let path = settings.database.display();
        let unreadable =
            |error: std::io::Error| format!("cannot read the database {path}: {error}");
        let bytes = fs::metadata(&settings.database).map_err(unreadable)?.len();
        if bytes > DATABASE_BYTES_MAX {
            return Err(format!(
                "the database {path} has {bytes} bytes, more than {DATABASE_BYTES_MAX}"
            ));
        }
        let content = fs::read(&settings.database).map_err(unreadable)?;
        let reader = Reader::from_source(content)
            .map_err(|error| format!("{path} is no MaxMind database: {error}"))?;
        Ok(Geoip {
            field: settings.field.clone(),
            target: settings.target.clone(),
            reader,
        })
    }

    fn set(&self, document: &mut Document, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            document.set_str(&format!("{}.{name}", self.target), value);
        }
    }
}

impl Transform for Geoip {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        let text = text_of(document, &self.field)?;
        let failed = |reason, problem: String| TransformError {
            reason,
            message: format!("field {}: {problem}", self.field),
        };
        let address: IpAddr = text.trim().parse().map_err(|_| {
            let shown: String = text.chars().take(64).collect();
            failed("not_an_address", format!("{shown:?} is no IP address"))
        })?;
        let record = self
            .reader
            .lookup(address)
            .and_then(|found| found.decode::<Record<'_>>())
            .map_err(|error| failed("geoip_failed", error.to_string()))?;
        // Private addresses are in no database; that is no failure.
        let Some(record) = record else {
            return Ok(Verdict::Keep);
        };
        let english = |named: &Option<Named<'_>>| -> Option<String> {
            let names = named.as_ref()?.names.as_ref()?;
            names.get("en").map(|name| (*name).to_owned())
        };
        let code = record.country.as_ref().and_then(|country| country.iso_code);
        self.set(document, "country_iso_code", code);
        self.set(
            document,
            "country_name",
            english(&record.country).as_deref(),
        );
        self.set(
            document,
            "continent_name",
            english(&record.continent).as_deref(),
        );
        self.set(document, "city_name", english(&record.city).as_deref());
        let region = record
            .subdivisions
            .and_then(|regions| regions.into_iter().next());
        self.set(document, "region_name", english(&region).as_deref());
        self.set(
            document,
            "postal_code",
            record.postal.and_then(|postal| postal.code),
        );
        if let Some(location) = record.location {
            self.set(document, "timezone", location.time_zone);
            if let (Some(lat), Some(lon)) = (location.latitude, location.longitude) {
                document.set_value(
                    &format!("{}.location", self.target),
                    &json!({"lat": lat, "lon": lon}),
                );
            }
        }
        if let Some(number) = record.autonomous_system_number {
            document.set_value(&format!("{}.as.number", self.target), &number.0);
        }
        self.set(
            document,
            "as.organization.name",
            record.autonomous_system_organization,
        );
        Ok(Verdict::Keep)
    }
}

fn geo() -> String {
    "geo".to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tried::{run, step};

    /// Two networks, written by the Python package `mmdb_writer` (see `tests/real/geoip_database.py`).
    const DATABASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/transform/geoip_test.mmdb");

    #[test]
    fn an_address_is_somewhere_or_nowhere() {
        let settings = format!(
            "{{\"geoip\":{{\"field\":\"ip\",\"database\":\"{DATABASE}\",\"target\":\"client.geo\"}}}}"
        );
        assert_eq!(
            run(&settings, r#"{"ip":"203.0.113.9"}"#).unwrap(),
            r#"{"ip":"203.0.113.9","client.geo.country_iso_code":"DE","client.geo.country_name":"Germany","client.geo.continent_name":"Europe","client.geo.city_name":"Berlin","client.geo.region_name":"Land Berlin","client.geo.postal_code":"10115","client.geo.timezone":"Europe/Berlin","client.geo.location":{"lat":52.5,"lon":13.4},"client.geo.as.number":64500,"client.geo.as.organization.name":"Example Net"}"#
        );
        assert_eq!(
            run(&settings, r#"{"ip":"2001:db8::7"}"#).unwrap(),
            r#"{"ip":"2001:db8::7","client.geo.country_iso_code":"NZ"}"#
        );
        assert_eq!(
            run(&settings, r#"{"ip":"10.0.0.7"}"#).unwrap(),
            r#"{"ip":"10.0.0.7"}"#
        );
        assert!(
            run(&settings, r#"{"ip":"shop"}"#)
                .unwrap_err()
                .starts_with("not_an_address")
        );
    }

    #[test]
    fn a_wrong_database_is_named() {
        for (path, part) in [
            ("/nowhere.mmdb", "cannot read"),
            (file!(), "cannot read"),
            (
                concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
                "no MaxMind database",
            ),
        ] {
            let settings = format!("{{\"geoip\":{{\"field\":\"ip\",\"database\":\"{path}\"}}}}");
            let problem = step(&settings).err().unwrap();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
