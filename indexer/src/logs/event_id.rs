//! Ids we make: short, unique, in the order of time, and stored nowhere.
//!
//! An id is 20 characters: the journal position (7 bytes, big end first) and 8 bytes that are this data directory's
//! own, in an alphabet whose order is that of the bytes. So the id of an event follows from its position, and the
//! position from the id.

use base64::Engine;
use base64::alphabet::Alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use event::Position;

const ALPHABET: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
const ID_CHARS: usize = 20;

/// Makes and reads the ids of one data directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventIds {
    directory: [u8; 8],
    engine: GeneralPurpose,
}

impl EventIds {
    /// For the data directory that drew this number when it was made.
    pub fn new(directory: u64) -> EventIds {
        let alphabet = Alphabet::new(ALPHABET).expect("64 distinct characters");
        let config = GeneralPurposeConfig::new().with_encode_padding(false);
        EventIds {
            directory: directory.to_be_bytes(),
            engine: GeneralPurpose::new(&alphabet, config),
        }
    }

    /// The id of the event at `position`.
    pub fn id_of(&self, position: Position) -> String {
        let mut bytes = [0; 15];
        bytes[..7].copy_from_slice(&position.0.to_be_bytes()[1..]);
        bytes[7..].copy_from_slice(&self.directory);
        self.engine.encode(bytes)
    }

    /// The position an id of ours stands for; `None` for any other id.
    pub fn position_of(&self, id: &str) -> Option<Position> {
        if id.len() != ID_CHARS {
            return None;
        }
        let bytes = self.engine.decode(id).ok()?;
        if bytes[7..] != self.directory {
            return None;
        }
        let mut position = [0; 8];
        position[1..].copy_from_slice(&bytes[..7]);
        Some(Position(u64::from_be_bytes(position)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_position_and_ids_are_in_order() {
        let ids = EventIds::new(0x1234_5678_9ABC_DEF0);
        let mut last = String::new();
        for position in [0, 1, 63, 64, 255, 256, 1 << 20, 1 << 40, (1 << 53) - 1] {
            let id = ids.id_of(Position(position));
            assert_eq!(id.len(), ID_CHARS);
            assert_eq!(ids.position_of(&id), Some(Position(position)));
            assert!(id > last, "{id} after {last}");
            last = id;
        }
        assert_eq!(EventIds::new(1).position_of(&last), None);
        assert_eq!(ids.position_of("my-own-id"), None);
        assert_eq!(ids.position_of(&"é".repeat(10)), None);
    }
}
