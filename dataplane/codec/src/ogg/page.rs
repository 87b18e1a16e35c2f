//! Pages of an Ogg file (RFC 3533): found, checked, and written. Knows nothing of what they carry.

/// One page whose checksum is right; borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Its first packet began on an earlier page.
    pub continued: bool,
    /// The first page of a stream.
    pub first: bool,
    /// The last page of a stream.
    pub last: bool,
    /// Where the stream is when all packets that end on this page have been played; `None` if none ends here.
    pub granule: Option<u64>,
    /// Which stream.
    pub serial: u32,
    /// Counts the pages of a stream.
    pub sequence: u32,
    /// Lengths of its segments; one of 255 goes on in the next.
    pub lacing: &'a [u8],
    /// The segments.
    pub body: &'a [u8],
}

/// The pages of a file in order. What is between them, or damaged, is passed over, so often and no more: each look at a
/// page that is none costs time.
#[derive(Clone, Debug)]
pub struct Pages<'a> {
    rest: &'a [u8],
    patience: u32,
}

impl<'a> Pages<'a> {
    /// From the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Pages { rest: bytes, patience: 1_000 }
    }
}

impl<'a> Iterator for Pages<'a> {
    type Item = Page<'a>;

    fn next(&mut self) -> Option<Page<'a>> {
        while self.patience > 0 {
            let start = self.rest.windows(4).position(|four| four == CAPTURE)?;
            self.rest = &self.rest[start..];
            if let Some((page, rest)) = Page::parse(self.rest) {
                self.rest = rest;
                return Some(page);
            }
            self.rest = &self.rest[4..];
            self.patience -= 1;
        }
        None
    }
}

impl<'a> Page<'a> {
    /// A page at the very beginning of `bytes`, and what follows it.
    fn parse(bytes: &'a [u8]) -> Option<(Page<'a>, &'a [u8])> {
        let (head, after) = bytes.split_first_chunk::<HEAD_LEN>()?;
        if head[..4] != *CAPTURE || head[4] != 0 {
            return None;
        }
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (lacing, after) = after.split_at_checked(head[26].into())?;
        let len: usize = lacing.iter().map(|len| usize::from(*len)).sum();
        let (body, rest) = after.split_at_checked(len)?;
        if checksum(&bytes[..HEAD_LEN + lacing.len() + len]) != number(CRC_AT) {
            return None;
        }
        let granule = u64::from(number(10)) << 32 | u64::from(number(6));
        let page = Page {
            continued: head[5] & CONTINUED != 0,
            first: head[5] & FIRST != 0,
            last: head[5] & LAST != 0,
            granule: (granule != u64::MAX).then_some(granule),
            serial: number(14),
            sequence: number(18),
            lacing,
            body,
        };
        Some((page, rest))
    }
}

/// A page that is being filled with whole packets.
#[derive(Clone, Debug)]
pub struct Sheet {
    serial: u32,
    sequence: u32,
    lacing: Vec<u8>,
    body: Vec<u8>,
}

impl Sheet {
    /// An empty page; number 0 is the first of its stream.
    pub fn new(serial: u32, sequence: u32) -> Self {
        Sheet { serial, sequence, lacing: Vec::new(), body: Vec::new() }
    }

    /// Adds a packet; `false` if it does not fit, and the page must be written before.
    pub fn add(&mut self, packet: &[u8]) -> bool {
        let segments = packet.len() / 255 + 1;
        let fits = self.lacing.len() + segments <= SEGMENTS_MAX;
        if fits {
            self.lacing.resize(self.lacing.len() + segments - 1, 255);
            self.lacing.push((packet.len() % 255) as u8);
            self.body.extend_from_slice(packet);
        }
        fits
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.lacing.is_empty()
    }

    /// Appends the page to `out` and begins the next one.
    pub fn write(&mut self, granule: u64, last: bool, out: &mut Vec<u8>) {
        let start = out.len();
        let flags = if self.sequence == 0 { FIRST } else { 0 } | if last { LAST } else { 0 };
        out.extend_from_slice(CAPTURE);
        out.extend_from_slice(&[0, flags]);
        out.extend_from_slice(&granule.to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&[0, 0, 0, 0, self.lacing.len() as u8]);
        out.append(&mut self.lacing);
        out.append(&mut self.body);
        seal(&mut out[start..]);
        self.sequence = self.sequence.wrapping_add(1);
    }
}

const CAPTURE: &[u8; 4] = b"OggS";
const HEAD_LEN: usize = 27;
const CRC_AT: usize = 22;
const SEGMENTS_MAX: usize = 255;
const CONTINUED: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// Gives a page its checksum.
pub fn seal(page: &mut [u8]) {
    if page.len() >= HEAD_LEN {
        let crc = checksum(page);
        page[CRC_AT..][..4].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Of a whole page, in which its own place counts as zero.
fn checksum(page: &[u8]) -> u32 {
    let crc = crc(crc(0, &page[..CRC_AT]), &[0; 4]);
    self::crc(crc, &page[CRC_AT + 4..])
}

fn crc(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, byte| crc << 8 ^ CRC[usize::from((crc >> 24) as u8 ^ byte)])
}

/// By the polynomial 0x04c11db7, bits from the highest.
static CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};
