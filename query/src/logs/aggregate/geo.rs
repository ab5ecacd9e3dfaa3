//! Points on the map: `geohash_grid`, `geotile_grid`, `geo_bounds`, `geo_centroid`.
//!
//! Points are recognised in the forms documents write them: `{"lat":…,"lon":…}`, `[lon, lat]`, GeoJSON and `"lat,lon"`.

use tantivy::DocId;

use indexer::logs::ValueColumn;

use super::buckets::SegmentBuckets;
use super::collector::{Collect, Meter, Segment};
use super::key::Key;
use super::moments::grow;
use super::partial::PartialAggregation;
use super::results::GeoCentre;
use super::slots::Owner;
use super::terms::TermColumn;
use super::values::{NumberSource, Numbers};
use super::{AggregateError, Aggregations, Ordinal};

const GEOHASH_DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
/// Beyond this latitude a Mercator map ends.
const MERCATOR_LATITUDE_MAX: f64 = 85.051_128_779_806_6;
/// How many texts are read between two looks at the clock.
const TEXTS_PER_CHECK: usize = 4096;

/// One bucket per cell of the map. Keys are texts: `u33`, `7/68/41`.
#[derive(Debug, Clone, PartialEq)]
pub struct GeoGrid {
    /// The field.
    pub field: String,
    /// How the map is cut.
    pub cells: Cells,
    /// Only points within: north-west and south-east corner, latitude and longitude.
    pub within: Option<((f64, f64), (f64, f64))>,
    /// How many buckets are kept, largest first.
    pub size: usize,
}

/// How the map is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cells {
    /// Geohashes of this length, 1 to 12.
    Geohash(u8),
    /// Map tiles at this zoom, 0 to 29.
    Geotile(u8),
}

/// The corners and the middle of points.
#[derive(Debug, Clone, PartialEq)]
pub struct GeoPoints {
    /// The field.
    pub field: String,
}

impl Cells {
    fn code(self, latitude: f64, longitude: f64) -> u64 {
        match self {
            Cells::Geohash(length) => geohash(latitude, longitude, length),
            Cells::Geotile(zoom) => {
                let side = f64::from(1u32 << zoom.min(29));
                let x = (longitude + 180.0) / 360.0 * side;
                let radians = latitude
                    .clamp(-MERCATOR_LATITUDE_MAX, MERCATOR_LATITUDE_MAX)
                    .to_radians();
                let y = (1.0 - radians.tan().asinh() / std::f64::consts::PI) / 2.0 * side;
                let tile = |at: f64| at.floor().clamp(0.0, side - 1.0) as u64;
                tile(x) << 32 | tile(y)
            }
        }
    }

    fn key(self, code: u64) -> Key {
        match self {
            Cells::Geohash(length) => {
                let digit = |at: u8| {
                    let shift = 5 * u32::from(length - 1 - at);
                    char::from(GEOHASH_DIGITS[(code >> shift & 31) as usize])
                };
                let text: String = (0..length).map(digit).collect();
                Key::Text(text.into())
            }
            Cells::Geotile(zoom) => {
                let text = format!("{zoom}/{}/{}", code >> 32, code & u64::from(u32::MAX));
                Key::Text(text.into())
            }
        }
    }
}

/// Halves longitude and latitude in turns; one bit each, five bits per digit.
fn geohash(latitude: f64, longitude: f64, length: u8) -> u64 {
    let mut longitudes = (-180.0, 180.0);
    let mut latitudes = (-90.0, 90.0);
    let mut code = 0;
    for bit in 0..u32::from(length) * 5 {
        let (range, value) = if bit % 2 == 0 {
            (&mut longitudes, longitude)
        } else {
            (&mut latitudes, latitude)
        };
        let middle = (range.0 + range.1) / 2.0;
        code <<= 1;
        if value >= middle {
            code |= 1;
            range.0 = middle;
        } else {
            range.1 = middle;
        }
    }
    code
}

/// Latitude and longitude, degrees.
type Point = (f64, f64);

/// The points of a field in one segment.
struct Points {
    latitudes: Numbers,
    longitudes: Numbers,
    /// `[lon, lat]` in the field itself and in GeoJSON's `coordinates`.
    pairs: [Numbers; 2],
    texts: Vec<(TermColumn, Vec<Option<Point>>)>,
    found: Vec<(u32, f64, f64)>,
}

impl Points {
    fn open(field: &str, segment: Segment<'_>) -> Result<Points, AggregateError> {
        let numbers = |suffix: &str| {
            let source = NumberSource {
                field: format!("{field}{suffix}"),
                ..NumberSource::default()
            };
            Numbers::open(segment.shard, segment.number, &source)
        };
        let mut texts = Vec::new();
        for column in segment.shard.columns(segment.number, field)? {
            if let ValueColumn::Text(column) = column {
                let points = parse_dictionary(&column, segment)?;
                texts.push((TermColumn::new(ValueColumn::Text(column)), points));
            }
        }
        Ok(Points {
            latitudes: numbers(".lat")?,
            longitudes: numbers(".lon")?,
            pairs: [numbers("")?, numbers(".coordinates")?],
            texts,
            found: Vec::new(),
        })
    }

    /// Position in the block, latitude and longitude of every point.
    fn read(&mut self, docs: &[DocId]) -> &[(u32, f64, f64)] {
        self.found.clear();
        let latitudes = values(&mut self.latitudes, docs);
        let longitudes = values(&mut self.longitudes, docs);
        // Both lists ascend by position and have a document's values in the order it wrote them.
        let mut longitudes = longitudes.into_iter().peekable();
        for (position, latitude) in latitudes {
            while longitudes.next_if(|(other, _)| *other < position).is_some() {}
            if let Some((_, longitude)) = longitudes.next_if(|(other, _)| *other == position) {
                self.found.push((position, latitude, longitude));
            }
        }
        for numbers in &mut self.pairs {
            let values = values(numbers, docs);
            for pair in values.chunk_by(|a, b| a.0 == b.0) {
                for point in pair.chunks_exact(2) {
                    self.found.push((point[0].0, point[1].1, point[0].1));
                }
            }
        }
        for (column, points) in &mut self.texts {
            let found = &mut self.found;
            column.for_each(docs, |position, ordinal| {
                if let Some((latitude, longitude)) = points[ordinal as usize] {
                    found.push((position as u32, latitude, longitude));
                }
            });
        }
        self.found.retain(|(_, latitude, longitude)| {
            (-90.0..=90.0).contains(latitude) && (-180.0..=180.0).contains(longitude)
        });
        self.found.sort_by_key(|(position, ..)| *position);
        &self.found
    }
}

fn values(numbers: &mut Numbers, docs: &[DocId]) -> Vec<(u32, f64)> {
    let mut values = Vec::new();
    numbers.for_each(docs, |position, value| {
        values.push((position as u32, value))
    });
    values
}

fn parse_dictionary(
    column: &tantivy::columnar::StrColumn,
    segment: Segment<'_>,
) -> Result<Vec<Option<Point>>, AggregateError> {
    let mut points = Vec::with_capacity(column.num_terms());
    let mut terms = column
        .dictionary()
        .stream()
        .map_err(|error| segment.unreadable(error))?;
    while terms.advance() {
        if points.len() % TEXTS_PER_CHECK == 0 {
            segment.budget.check()?;
        }
        points.push(std::str::from_utf8(terms.key()).ok().and_then(parse_point));
    }
    Ok(points)
}

/// Reads `lat,lon`.
fn parse_point(text: &str) -> Option<Point> {
    let (latitude, longitude) = text.split_once(',')?;
    Some((
        latitude.trim().parse().ok()?,
        longitude.trim().parse().ok()?,
    ))
}

pub(super) fn open_grid(
    request: &GeoGrid,
    children: &Aggregations,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    Ok(Box::new(GridCollector {
        points: Points::open(&request.field, segment)?,
        request: request.clone(),
        buckets: SegmentBuckets::open(children, segment, None)?,
    }))
}

struct GridCollector {
    points: Points,
    request: GeoGrid,
    buckets: SegmentBuckets,
}

impl Collect for GridCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        let mut cells: Vec<(u32, u64)> = Vec::new();
        for (position, latitude, longitude) in self.points.read(docs) {
            let is_within = self.request.within.is_none_or(|(north_west, south_east)| {
                (south_east.0..=north_west.0).contains(latitude)
                    && (north_west.1..=south_east.1).contains(longitude)
            });
            if is_within {
                cells.push((*position, self.request.cells.code(*latitude, *longitude)));
            }
        }
        cells.sort_unstable();
        cells.dedup();
        for (position, code) in cells {
            let position = position as usize;
            let owner = Owner {
                parent: parents[position],
                column: 0,
                code,
            };
            self.buckets.add(docs[position], owner);
        }
        self.buckets.flush()
    }

    fn finish(
        self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        let cells = self.request.cells;
        let keys_of = |owners: &[Owner]| {
            let keys = owners.iter().map(|owner| Some(cells.key(owner.code)));
            Ok(keys.collect())
        };
        let found = self.buckets.finish(parent_count, None, keys_of)?;
        Ok(found.into_iter().map(PartialAggregation::Buckets).collect())
    }
}

/// Corners and sums of points.
#[derive(Debug, Clone, Default)]
pub(super) struct GeoExtent {
    count: u64,
    corners: Option<(f64, f64, f64, f64)>,
    latitude_sum: f64,
    longitude_sum: f64,
}

impl GeoExtent {
    fn add(&mut self, latitude: f64, longitude: f64) {
        self.count += 1;
        self.latitude_sum += latitude;
        self.longitude_sum += longitude;
        self.widen((latitude, latitude, longitude, longitude));
    }

    pub fn merge(&mut self, other: &GeoExtent) {
        self.count += other.count;
        self.latitude_sum += other.latitude_sum;
        self.longitude_sum += other.longitude_sum;
        if let Some(corners) = other.corners {
            self.widen(corners);
        }
    }

    fn widen(&mut self, (south, north, west, east): (f64, f64, f64, f64)) {
        self.corners = Some(match self.corners {
            None => (south, north, west, east),
            Some(known) => (
                known.0.min(south),
                known.1.max(north),
                known.2.min(west),
                known.3.max(east),
            ),
        });
    }

    pub fn finish(&self) -> Option<GeoCentre> {
        let (south, north, west, east) = self.corners?;
        let count = self.count as f64;
        Some(GeoCentre {
            count: self.count,
            top_left: (north, west),
            bottom_right: (south, east),
            centre: (self.latitude_sum / count, self.longitude_sum / count),
        })
    }
}

pub(super) fn open_points(
    request: &GeoPoints,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    Ok(Box::new(PointsCollector {
        points: Points::open(&request.field, segment)?,
        by_parent: Vec::new(),
        meter: Meter::new(segment.budget),
    }))
}

struct PointsCollector {
    points: Points,
    by_parent: Vec<GeoExtent>,
    meter: Meter,
}

impl Collect for PointsCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        grow(&mut self.by_parent, parents);
        for (position, latitude, longitude) in self.points.read(docs) {
            self.by_parent[parents[*position as usize] as usize].add(*latitude, *longitude);
        }
        self.meter
            .grow_to((self.by_parent.len() * size_of::<GeoExtent>()) as u64)
    }

    fn finish(
        mut self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        self.by_parent.resize_with(parent_count, GeoExtent::default);
        let found = self.by_parent.into_iter();
        Ok(found.map(PartialAggregation::Geo).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(cells: Cells, latitude: f64, longitude: f64) -> Key {
        cells.key(cells.code(latitude, longitude))
    }

    #[test]
    fn berlin_is_in_the_cells_that_maps_say() {
        let (latitude, longitude) = (52.52, 13.405);
        assert_eq!(
            cell(Cells::Geohash(3), latitude, longitude),
            Key::from("u33")
        );
        assert_eq!(
            cell(Cells::Geohash(7), latitude, longitude),
            Key::from("u33dc0c")
        );
        assert_eq!(
            cell(Cells::Geotile(7), latitude, longitude),
            Key::from("7/68/41")
        );
        assert_eq!(cell(Cells::Geotile(0), -90.0, 180.0), Key::from("0/0/0"));
    }

    #[test]
    fn corners_and_middle() {
        let mut extent = GeoExtent::default();
        extent.add(10.0, 20.0);
        let mut other = GeoExtent::default();
        other.add(-10.0, 40.0);
        extent.merge(&other);
        extent.merge(&GeoExtent::default());
        let centre = extent.finish().unwrap();
        assert_eq!(centre.top_left, (10.0, 20.0));
        assert_eq!(centre.bottom_right, (-10.0, 40.0));
        assert_eq!(centre.centre, (0.0, 30.0));
        assert_eq!(GeoExtent::default().finish(), None);
    }
}
