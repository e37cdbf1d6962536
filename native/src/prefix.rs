//! Which endpoint has which prompt blocks in its cache; bounded by LRU per endpoint.
//!
//! The twin of `headgate.scheduling.prefix.PrefixIndex`: one table per slot (endpoint). A match walks the prompt
//! once per slot, so no global table is needed and one endpoint is cleared at once.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::lru::{Lru, REPORTED};

const MAGIC: &[u8; 8] = b"HGPREF01";
/// Slots of all endpoints.
#[derive(Default)]
pub struct Index {
    slots: Vec<Option<Lru>>,
}

impl Index {
    pub fn open(&mut self, slot: usize, capacity: usize) {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        let lru = self.slots[slot].get_or_insert_with(|| Lru::new(capacity));
        lru.capacity = capacity;
        lru.shrink();
    }

    fn get(&self, slot: usize) -> Option<&Lru> {
        self.slots.get(slot)?.as_ref()
    }

    fn get_mut(&mut self, slot: usize) -> Option<&mut Lru> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub fn add(&mut self, slot: usize, blocks: &[u64]) {
        if let Some(lru) = self.get_mut(slot) {
            let room = lru.capacity.min(blocks.len());
            lru.add(&blocks[..room], 0);
        }
    }

    /// How many leading blocks each slot holds; slots that hold none are left out.
    pub fn matched(&self, blocks: &[u64]) -> Vec<(usize, usize)> {
        let depth = |lru: &Lru| {
            blocks
                .iter()
                .take_while(|block| lru.contains(**block))
                .count()
        };
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, lru)| Some((slot, depth(lru.as_ref()?))))
            .filter(|(_, depth)| *depth > 0)
            .collect()
    }

    /// The whole index as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (slot, lru) in self.slots.iter().enumerate() {
            let Some(lru) = lru else { continue };
            for number in [slot as u64, lru.capacity as u64, lru.used as u64] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            for (block, flags) in lru.in_order() {
                out.extend_from_slice(&block.to_le_bytes());
                out.push(flags as u8);
            }
        }
        out
    }

    pub fn restore(data: &[u8]) -> Result<Index, String> {
        let mut rest = data.strip_prefix(MAGIC).ok_or("not a snapshot")?;
        let mut index = Index::default();
        while !rest.is_empty() {
            let mut numbers = [0usize; 3];
            for number in &mut numbers {
                *number =
                    usize::try_from(take_u64(&mut rest)?).map_err(|_| "a number too large")?;
            }
            let [slot, capacity, used] = numbers;
            if slot > MAX_SLOT || used > capacity || used > rest.len() / 9 {
                return Err("the snapshot is cut short".to_owned());
            }
            index.open(slot, capacity);
            for _ in 0..used {
                let block = take_u64(&mut rest)?;
                let (flags, after) = rest.split_first().ok_or("the snapshot is cut short")?;
                rest = after;
                if let Some(lru) = index.get_mut(slot) {
                    lru.touch(block, u32::from(*flags) & REPORTED);
                }
            }
        }
        Ok(index)
    }
}

/// Slots are numbered densely; a number beyond this is a mistake.
const MAX_SLOT: usize = 1 << 20;

fn take_u64(rest: &mut &[u8]) -> Result<u64, String> {
    let (head, after) = rest
        .split_first_chunk::<8>()
        .ok_or("the snapshot is cut short")?;
    *rest = after;
    Ok(u64::from_le_bytes(*head))
}

/// Block hashes as Python packs them: 8 bytes each, little-endian.
fn unpack(mut packed: &[u8]) -> PyResult<Vec<u64>> {
    let mut blocks = Vec::with_capacity(packed.len() / size_of::<u64>());
    while let Some((block, rest)) = packed.split_first_chunk() {
        blocks.push(u64::from_le_bytes(*block));
        packed = rest;
    }
    if packed.is_empty() {
        Ok(blocks)
    } else {
        let text = "blocks are no whole number of 8-byte hashes";
        Err(PyValueError::new_err(text))
    }
}

/// Block hash → endpoints, behind the interface of `headgate.scheduling.prefix.PrefixIndex`.
#[pyclass]
#[derive(Default)]
pub struct PrefixIndex {
    index: Index,
}

#[pymethods]
impl PrefixIndex {
    #[new]
    fn new() -> PrefixIndex {
        PrefixIndex::default()
    }

    fn open(&mut self, slot: usize, capacity: usize) -> PyResult<()> {
        if slot > MAX_SLOT || capacity == 0 {
            return Err(PyValueError::new_err("slot or capacity out of range"));
        }
        self.index.open(slot, capacity);
        Ok(())
    }

    fn remove(&mut self, slot: usize) {
        if let Some(lru) = self.index.slots.get_mut(slot) {
            *lru = None;
        }
    }

    fn clear(&mut self, slot: usize) {
        if let Some(lru) = self.index.get_mut(slot) {
            lru.clear();
        }
    }

    fn add(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        self.index.add(slot, &unpack(blocks)?);
        Ok(())
    }

    fn r#match<'py>(&self, py: Python<'py>, blocks: &[u8]) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(py);
        for (slot, depth) in self.index.matched(&unpack(blocks)?) {
            found.set_item(slot, depth)?;
        }
        Ok(found)
    }

    fn capacity(&self, slot: usize) -> usize {
        self.index.get(slot).map_or(0, |lru| lru.capacity)
    }

    fn blocks(&self, slot: usize) -> usize {
        self.index.get(slot).map_or(0, |lru| lru.used)
    }

    fn fill(&self, slot: usize) -> f64 {
        self.index
            .get(slot)
            .map_or(0.0, |lru| lru.used as f64 / lru.capacity as f64)
    }

    /// The endpoint itself says that it stored these blocks, in the order of the prompt.
    fn stored(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        let blocks = unpack(blocks)?;
        if let Some(lru) = self.index.get_mut(slot) {
            lru.add(&blocks, REPORTED);
        }
        Ok(())
    }

    /// The endpoint itself says that it dropped these blocks.
    fn dropped(&mut self, slot: usize, blocks: &[u8]) -> PyResult<()> {
        let blocks = unpack(blocks)?;
        if let Some(lru) = self.index.get_mut(slot) {
            for block in blocks {
                lru.forget(block);
            }
        }
        Ok(())
    }

    /// How many of the remembered blocks the endpoint reported itself.
    fn reported(&self, slot: usize) -> usize {
        self.index.get(slot).map_or(0, |lru| {
            lru.in_order()
                .filter(|(_, flags)| flags & REPORTED != 0)
                .count()
        })
    }

    /// Bytes of memory that the index has allocated.
    fn memory(&self) -> usize {
        self.index.slots.iter().flatten().map(Lru::bytes).sum()
    }

    /// Everything remembered, as bytes.
    fn snapshot<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.index.snapshot())
    }

    /// Replaces everything by what a snapshot says; raises ValueError for bytes that are none.
    fn restore(&mut self, data: &[u8]) -> PyResult<()> {
        self.index = Index::restore(data).map_err(PyValueError::new_err)?;
        Ok(())
    }

    /// Raises AssertionError when lists, tables and bounds disagree.
    fn check(&self) -> PyResult<()> {
        for (slot, lru) in self.index.slots.iter().enumerate() {
            if let Some(Err(text)) = lru.as_ref().map(Lru::check) {
                return Err(pyo3::exceptions::PyAssertionError::new_err(format!(
                    "slot {slot}: {text}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eviction_shortens_prompts_from_their_end() {
        let mut index = Index::default();
        index.open(2, 3);
        index.add(2, &[1, 2]);
        index.add(2, &[7, 8]);
        assert_eq!(index.matched(&[1, 2]), [(2, 1)]);
        assert_eq!(index.matched(&[7, 8, 9]), [(2, 2)]);
        index.open(2, 1);
        assert_eq!(index.matched(&[7, 8]), [(2, 1)]);
    }

    #[test]
    fn a_snapshot_restores_contents_and_order() {
        let mut index = Index::default();
        index.open(0, 4);
        index.open(3, 10);
        index.add(0, &[1, 2, 3]);
        index.add(3, &[1, 5]);
        let mut copy = Index::restore(&index.snapshot()).unwrap();
        assert_eq!(copy.snapshot(), index.snapshot());
        copy.add(0, &[9, 8]);
        index.add(0, &[9, 8]);
        assert_eq!(copy.snapshot(), index.snapshot());
        assert!(Index::restore(&index.snapshot()[..20]).is_err());
        assert!(Index::restore(b"nonsense").is_err());
    }
}
