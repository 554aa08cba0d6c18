import Testing
import Transformers

struct ChunkPlanTests {
  @Test func `without a chunk size the whole prompt is one chunk`() throws {
    let plan = try ChunkPlan(positions: 5..<300, chunk: nil, rowBlock: 100, tileRows: 64)
    #expect(plan.chunks == [5..<300])
    #expect(plan.rowBlock == 128)
    #expect(plan.rowBlocks(of: plan.chunks[0]) == [5..<128, 128..<256, 256..<300])
  }

  @Test func `chunks are cut at absolute multiples of whole tiles`() throws {
    let plan = try ChunkPlan(positions: 70..<200, chunk: 50, rowBlock: 1, tileRows: 32)
    #expect(plan.chunks == [70..<128, 128..<192, 192..<200])
    // Blocks are whole tiles and whole blocks of pooled queries.
    #expect(plan.rowBlock == 64)
    #expect(plan.rowBlocks(of: 40..<140) == [40..<64, 64..<128, 128..<140])
    // A chunk that is no longer than a block is one, wherever it begins.
    #expect(plan.rowBlocks(of: 64..<120) == [64..<120])
    let large = try ChunkPlan(
      positions: 0..<1000, chunk: nil, chunkEnds: [448, 700], rowBlock: 256, tileRows: 64)
    #expect(large.rowBlocks(of: 448..<704) == [448..<704])
    #expect(large.rowBlocks(of: 704..<1000) == [704..<960, 960..<1000])
    let wide = try ChunkPlan(positions: 0..<400, chunk: 50, rowBlock: 1, tileRows: 96)
    #expect(wide.rowBlock == 192 && wide.chunks.first == 0..<96)
  }

  @Test func `huge sizes mean the whole prompt`() throws {
    let plan = try ChunkPlan(positions: 0..<9, chunk: Int.max, rowBlock: Int.max, tileRows: 64)
    #expect(plan.chunks == [0..<9])
    #expect(plan.rowBlocks(of: 0..<9) == [0..<9])
  }

  @Test(arguments: [(Int?(0), 1), (-1, 1), (nil, 0)])
  func `sizes below one are refused`(chunk: Int?, rowBlock: Int) {
    #expect(throws: TransformerError.self) {
      try ChunkPlan(positions: 0..<9, chunk: chunk, rowBlock: rowBlock, tileRows: 64)
    }
  }
}
