import Plots
import Compute
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

@Suite struct AttentionPictureTests {
  /// Scores of every row, [row][key].
  private func scores(_ keys: Int, seed: UInt64) -> [[Float]] {
    var generator = SeededGenerator(seed: seed)
    return (0..<keys).map { row in (0...row).map { _ in Float(generator.next(below: 2000)) / 100 } }
  }

  @Test(arguments: [(100, 7), (64, 64), (5, 30), (1, 1), (257, 16)])
  func `a cell shows the largest probability of its pairs, and knows which has it`(
    keys: Int, cells: Int
  ) throws {
    let scores = scores(keys, seed: UInt64(keys))
    var image = AttentionImage(keys: keys, cells: cells)
    for (row, values) in scores.enumerated() {
      values.withUnsafeBufferPointer { image.add(position: row, scores: $0) }
    }
    let side = min(cells, keys)
    var expected = [Double](repeating: 0, count: side * side)
    for (row, values) in scores.enumerated() {
      let total = values.reduce(0.0) { $0 + exp(Double($1)) }
      for (key, score) in values.enumerated() {
        let cell = row * side / keys * side + key * side / keys
        expected[cell] = max(expected[cell], exp(Double(score)) / total)
      }
    }
    for (found, wanted) in zip(image.maxima, expected) {
      #expect(abs(Double(found) - wanted) <= 0.02 * wanted)
    }
    for (cell, pair) in image.brightest.enumerated() where expected[cell] > 0 {
      let pair = try #require(pair)
      #expect(Int(pair.query) * side / keys * side + Int(pair.key) * side / keys == cell)
    }
  }

  @Test func `sampled rows hold the last 64, and some of every cell`() {
    let rows = AttentionImage.sampledRows(keys: 5000, cells: 40, perCell: 4)
    #expect(rows.suffix(64) == Array(4936..<5000)[...])
    #expect(Set(rows.map { $0 * 40 / 5000 }).count == 40)
    #expect(rows.count <= 40 * 4 + 64)
    #expect(AttentionImage.sampledRows(keys: 100, cells: 40, perCell: 4) == Array(0..<100))
  }

  @Test func `a cell is computed where its brightest pair is`() throws {
    let keys = 500
    let grid = TileGrid(firstPosition: 0, rows: keys, tile: TileShape(rows: 64, columns: 32))
    let tiles = TileRuns(offsets: [0..<40, 200..<201], columns: [3, 77, 130, 300], on: grid)
    let index = try TileIndex(
      firstPosition: 0, rows: keys, tile: grid.tile, rowSets: [.tiles(tiles), .all],
      rowSetOfHead: [0, 1])
    var image = AttentionImage(keys: keys, cells: keys)
    for (row, values) in scores(keys, seed: 4).enumerated() {
      values.withUnsafeBufferPointer { image.add(position: row, scores: $0) }
    }
    let computed = ComputedCells(image, index: index, head: 0)
    var count = 0
    for query in 0..<keys {
      let runs = tiles.runs(ofRow: query / 64)
      for key in 0...query {
        let inTile = runs.contains { Int($0.start) * 32 <= key && key < Int($0.end) * 32 }
        let expected = inTile || tiles.columns.contains(Int32(key))
        #expect(computed.isComputed[query * keys + key] == expected)
        count += expected ? 1 : 0
      }
    }
    #expect(count == index.computedPairs(ofHead: 0))
    for (query, scores) in self.scores(keys, seed: 9).enumerated() where query % 7 == 0 {
      let masses = scores.map { exp(Double($0)) }
      let kept = masses.indices.reduce(0.0) { sum, key in
        sum + (computed.isComputed[query * keys + key] ? masses[key] : 0)
      }
      let recall = scores.withUnsafeBufferPointer {
        index.recall(query: query, head: 0, scores: $0)
      }
      #expect(abs(recall - kept / masses.reduce(0, +)) < 0.01)
    }
    #expect(ComputedCells(image, index: index, head: 1).isComputed.allSatisfy { $0 })
  }

  @Test func `a cell without any probability is not taken for computed`() throws {
    let keys = 400
    let grid = TileGrid(firstPosition: 0, rows: keys, tile: TileShape(rows: 8, columns: 8))
    let index = try TileIndex(
      firstPosition: 0, rows: keys, tile: grid.tile,
      rowSets: [.tiles(TileRuns(offsets: [0..<16], columns: [], on: grid))], rowSetOfHead: [0])
    var image = AttentionImage(keys: keys, cells: 10)
    // Everything lies on the row's own key; the rest is too small for a number.
    for row in 0..<keys {
      var scores = [Float](repeating: -1000, count: row + 1)
      scores[row] = 0
      scores.withUnsafeBufferPointer { image.add(position: row, scores: $0) }
    }
    let computed = ComputedCells(image, index: index, head: 0)
    for row in 0..<10 {
      for column in 0..<10 {
        #expect(computed.isComputed[row * 10 + column] == (column >= row), "\(row) \(column)")
      }
    }
  }

  @Test func `a head and a sheet of heads are drawn with their figures`() throws {
    var image = AttentionImage(keys: 300, cells: 20)
    for (row, values) in scores(300, seed: 2).enumerated() {
      values.withUnsafeBufferPointer { image.add(position: row, scores: $0) }
    }
    let index = try TileIndex.dense(
      firstPosition: 0, rows: 300, heads: 1, tile: TileShape(rows: 64, columns: 32))
    let picture = AttentionPicture(
      layer: 3, head: 1, image: image, computed: ComputedCells(image, index: index, head: 0),
      pattern: "vertical-slash(2, 3)", density: 0.25, recall: 0.951, columns: [1, 9],
      offsets: [0, 1, 2])
    expectWellFormed(picture.svg)
    for text in [
      "vertical-slash(2, 3), density 25.0 %, recall 0.951", "2 columns", "3 offsets",
      "key position (token)",
    ] {
      #expect(picture.svg.contains(text), "\(text)")
    }
    let strip = HeadStrip.svg([picture, picture], title: "Two <heads>")
    expectWellFormed(strip)
    #expect(strip.count(ofText: "layer 3, head 1") == 2 && strip.contains("Two &lt;heads&gt;"))
    #expect(strip.count(ofText: "density 25.0 %, recall 0.951") == 2)
    let sheet = ContactSheet.svg([[picture, picture], [picture]], title: "All & every")
    expectWellFormed(sheet)
    #expect(sheet.count(ofText: "25.0 %, recall 0.951") == 3)
    #expect(sheet.contains("All &amp; every"))
  }
}
