//! Scalars as TensorBoard reads them: records of an event file, as bytes. Knows no files and no clock.
//!
//! An event file is a sequence of TFRecords (tensorflow/core/lib/io/record_writer.h), all numbers little-endian:
//!
//!     length: u64 | mask(crc of those 8 bytes): u32 | payload | mask(crc of the payload): u32
//!
//! with CRC-32C (Castagnoli, reflected polynomial 0x82F63B78) and mask(c) = rotate_right(c, 15) + 0xA282EAD8. A payload is
//! an `Event` of tensorflow/core/util/event.proto; the fields written here are
//!
//!     Event   { double wall_time = 1; int64 step = 2; oneof { string file_version = 3; Summary summary = 5; } }
//!     Summary { repeated Value value = 1; }     Value { string tag = 1; float simple_value = 2; }
//!
//! `wall_time` is the step's number, in seconds since 1970: equal curves give equal bytes, and TensorBoard's axis STEP is
//! the one to look at. Values are f32, which the format asks for; the curve's JSON has them whole.

/// What the name of an event file begins with; TensorBoard looks for this word.
pub const PREFIX: &str = "events.out.tfevents";

/// The first record of every event file.
pub fn head() -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, 0.0);
    event.bytes(3, b"brain.Event:2");
    record(&event.0)
}

/// The record of one step.
pub fn scalars<'a>(step: u64, values: impl Iterator<Item = (&'a str, f64)>) -> Vec<u8> {
    let mut summary = Message::default();
    for (tag, value) in values {
        let mut scalar = Message::default();
        scalar.bytes(1, tag.as_bytes());
        scalar.float(2, value as f32);
        summary.bytes(1, &scalar.0);
    }
    let mut event = Message::default();
    event.double(1, step as f64);
    event.varint(2, step);
    event.bytes(5, &summary.0);
    record(&event.0)
}

fn record(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked(&length));
    bytes.extend(payload);
    bytes.extend(masked(payload));
    bytes
}

/// The format masks its checksums, so that the checksum of data that holds checksums is a good one too.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xA282_EAD8)
        .to_le_bytes()
}

/// Bit by bit: a step is a kilobyte.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (low * 0x82F6_3B78);
        }
    }
    !crc
}

/// A protobuf message under way. A field begins with its number and wire type: 0 varint, 1 eight bytes, 2 counted bytes,
/// 5 four bytes.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, field: u64, value: u64) {
        self.number(field << 3);
        self.number(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.number(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.number(field << 3 | 2);
        self.number(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.number(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    fn number(&mut self, mut value: u64) {
        while value > 0x7F {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}
