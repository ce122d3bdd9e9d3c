//! Blocks for input that is not complete yet: half a request head, half a message.
//!
//! Invariants: an idle connection holds none; a block is contiguous and never wraps; all blocks of a shard together
//! stay within its budget; growth follows the bytes that came, never a length that was announced.

use wsproto::{Assembly, Full};

use crate::limits::{BLOCK_BYTES_MIN, SPARE_BLOCK_BYTES_MAX, SPARE_BLOCKS};

/// A connection's block, while it has one.
pub type Block = Option<Box<Vec<u8>>>;

/// The blocks of a shard.
#[derive(Debug)]
pub struct Blocks {
    /// Spare blocks of `BLOCK_BYTES_MIN << index` bytes.
    #[allow(clippy::vec_box, reason = "a record has room for a pointer only, so blocks move as boxes")]
    spare: Vec<Vec<Box<Vec<u8>>>>,
    held_bytes: usize,
    held_bytes_max: usize,
}

fn class_of(bytes: usize) -> usize {
    (bytes.max(BLOCK_BYTES_MIN).next_power_of_two() / BLOCK_BYTES_MIN).trailing_zeros() as usize
}

impl Blocks {
    /// Blocks of at most `held_bytes_max` bytes in all.
    #[must_use]
    pub fn new(held_bytes_max: usize) -> Self {
        Self { spare: Vec::new(), held_bytes: 0, held_bytes_max }
    }

    /// Bytes of the blocks that connections hold.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The block of a connection, with room for `more` bytes, moved to a larger one if need be.
    ///
    /// # Errors
    /// [`Full`]: the shard's budget is used up; the block is as it was.
    pub fn reserve<'b>(&mut self, block: &'b mut Block, more: usize) -> Result<&'b mut Vec<u8>, Full> {
        let (len, capacity) = block.as_ref().map_or((0, 0), |held| (held.len(), held.capacity()));
        if len + more > capacity {
            let class = class_of(len + more);
            let bytes = BLOCK_BYTES_MIN << class;
            if self.held_bytes - capacity + bytes > self.held_bytes_max {
                return Err(Full);
            }
            while self.spare.len() <= class {
                self.spare.push(Vec::new());
            }
            let mut larger = self.spare[class].pop().unwrap_or_else(|| Box::new(Vec::with_capacity(bytes)));
            self.held_bytes += larger.capacity();
            if let Some(held) = block.as_ref() {
                larger.extend_from_slice(held);
            }
            self.release(block);
            *block = Some(larger);
        }
        block.as_deref_mut().ok_or(Full)
    }

    /// Takes the block back.
    pub fn release(&mut self, block: &mut Block) {
        let Some(mut held) = block.take() else { return };
        self.held_bytes -= held.capacity();
        held.clear();
        if let Some(spare) = self.spare.get_mut(class_of(held.capacity()))
            && spare.len() < SPARE_BLOCKS
            && held.capacity() <= SPARE_BLOCK_BYTES_MAX
        {
            spare.push(held);
        }
    }

    /// The connection's block as the place where its message is put together.
    pub fn assembly<'b>(&'b mut self, block: &'b mut Block) -> InboundAssembly<'b> {
        InboundAssembly { blocks: self, block }
    }
}

/// A block that grows from the shard's pool.
#[derive(Debug)]
pub struct InboundAssembly<'b> {
    blocks: &'b mut Blocks,
    block: &'b mut Block,
}

impl Assembly for InboundAssembly<'_> {
    fn push(&mut self, len: usize) -> Result<&mut [u8], Full> {
        let block = self.blocks.reserve(self.block, len)?;
        let start = block.len();
        block.resize(start + len, 0);
        Ok(&mut block[start..])
    }

    fn bytes(&mut self) -> &mut [u8] {
        self.block.as_deref_mut().map_or(&mut [], Vec::as_mut_slice)
    }

    fn truncate(&mut self, len: usize) {
        if let Some(block) = self.block.as_deref_mut() {
            block.truncate(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_within_the_budget_and_comes_back() {
        let mut blocks = Blocks::new(3 * BLOCK_BYTES_MIN);
        let mut block: Block = None;
        blocks.assembly(&mut block).push(BLOCK_BYTES_MIN - 1).unwrap().fill(7);
        blocks.assembly(&mut block).push(10).unwrap().fill(8);
        assert_eq!(blocks.held_bytes(), 2 * BLOCK_BYTES_MIN);
        let mut assembly = blocks.assembly(&mut block);
        assert_eq!(assembly.bytes().len(), BLOCK_BYTES_MIN + 9);
        assert_eq!(assembly.bytes()[BLOCK_BYTES_MIN - 2..BLOCK_BYTES_MIN], [7, 8]);
        assert!(assembly.push(2 * BLOCK_BYTES_MIN).is_err(), "four blocks are over the budget");
        assert_eq!(assembly.bytes().len(), BLOCK_BYTES_MIN + 9);
        blocks.release(&mut block);
        assert_eq!((blocks.held_bytes(), block.is_none()), (0, true));
    }

    #[test]
    fn spare_blocks_are_empty_when_reused() {
        let mut blocks = Blocks::new(1 << 20);
        let mut block: Block = None;
        blocks.assembly(&mut block).push(100).unwrap().fill(1);
        blocks.release(&mut block);
        let mut again: Block = None;
        blocks.assembly(&mut again).push(1).unwrap();
        assert_eq!(again.unwrap().len(), 1);
    }
}
