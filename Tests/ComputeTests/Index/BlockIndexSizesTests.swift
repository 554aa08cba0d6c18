import Compute
import Testing

/// What a device allocates for the index of block-sparse heads.
@Suite struct BlockIndexSizesTests {
  @Test func `blocks and pairs are those that a chunk touches, wherever it begins`() {
    for first in [0, 1, 63, 64, 65, 127, 128, 200, 1000] {
      for rows in [1, 2, 64, 65, 128, 500] {
        let sizes = BlockIndexSizes(
          heads: 3, topK: 4, firstPosition: first, rows: rows, scoreBytes: 1 << 20)
        let positions = first..<first + rows
        #expect(sizes.queryBlocks == Set(positions.map { $0 / 64 }).count)
        #expect(sizes.keyBlocks == Set((0..<first + rows).map { $0 / 64 }).count)
        #expect(sizes.pairs == Set(positions.map { $0 / 128 }).count)
        #expect(sizes.topK == min(4, sizes.keyBlocks) && sizes.listCapacity == 2 * sizes.topK + 4)
        #expect((1...sizes.pairs).contains(sizes.slabPairs))
      }
    }
  }

  @Test func `scores are made in slabs of a bounded size`() {
    let million = BlockIndexSizes(
      heads: 32, topK: 100, firstPosition: 0, rows: 1 << 20, scoreBytes: 128 << 20)
    #expect(million.slabPairs == 32)
    let shorter = BlockIndexSizes(
      heads: 32, topK: 100, firstPosition: 0, rows: 1 << 17, scoreBytes: 128 << 20)
    #expect(shorter.slabPairs == 256 && shorter.pairs == 1024)
    #expect(
      shorter.heads * 2 * shorter.slabPairs * shorter.keyBlocks * 4 == shorter.scoreBytes)
    // Half a million tokens more take what they need and no more.
    let shape = AttentionShape(queryHeads: 32, keyValueHeads: 8, headDim: 128)
    #expect(million.bytes(shape: shape) < 1 << 30)
  }
}
