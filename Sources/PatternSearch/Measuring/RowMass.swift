package import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The softmax mass of one head's sampled rows as running sums over the keys, so that the mass in any
/// range of keys is one difference.
///
/// O(sampled rows * keys) memory, four bytes each.
package struct RowMass {
  package let positions: [Int]
  package let keys: Int
  /// [row, keys + 1]: entry j is the unnormalised mass of the keys below j. Sums run in Double and
  /// are stored as Float: a share is off by 1e-7 for each range that is taken.
  private var running: [Float]
  /// 1 / all mass of each row, a sink's included.
  private var inverse: [Float]
  private let hasSink: Bool

  /// Makes the sums of consecutive rows from their scores in units of log 2; `scores` is asked for a
  /// few rows at a time and gives [rows, keys].
  ///
  /// - Parameter sink: The score of the head's attention sink, in the same units; nil: there is none. Its mass
  ///   counts as kept whatever is computed.
  package init(
    positions: [Int], keys: Int, slidingWindow: Int?, sink: Float? = nil, rowsAtOnce: Int? = nil,
    scores: (Range<Int>) throws -> [Float]
  ) rethrows {
    self.positions = positions
    self.keys = keys
    hasSink = sink != nil
    running = [Float](repeating: 0, count: positions.count * (keys + 1))
    inverse = [Float](repeating: 0, count: positions.count)
    let rowsAtOnce = rowsAtOnce ?? Self.rowsAtOnce(keys: keys)
    for start in stride(from: 0, to: positions.count, by: rowsAtOnce) {
      let rows = start..<min(start + rowsAtOnce, positions.count)
      let block = try scores(rows)
      block.withUnsafeBufferPointer { scores in
        running.withUnsafeMutableBufferPointer { sums in
          inverse.withUnsafeMutableBufferPointer { inverse in
            HostThreads.run(rows.count) { place in
              let position = positions[start + place]
              let first = slidingWindow.map { max(0, position - $0 + 1) } ?? 0
              let base = (start + place) * (keys + 1)
              inverse[start + place] = Self.accumulate(
                scores: UnsafeBufferPointer(rebasing: scores[place * keys..<(place + 1) * keys]),
                visible: first..<position + 1, sink: sink,
                into: UnsafeMutableBufferPointer(rebasing: sums[base..<base + keys + 1]))
            }
          }
        }
      }
    }
  }

  /// Rows whose scores are held beside the sums: 32 MB of them, so that memory does not double.
  static func rowsAtOnce(keys: Int) -> Int { max(16, (8 << 20) / max(keys, 1)) }

  /// Running sums of 2^(score - largest) over the visible keys; returns 1 / their sum with the sink's mass.
  private static func accumulate(
    scores: UnsafeBufferPointer<Float>, visible: Range<Int>, sink: Float?,
    into sums: UnsafeMutableBufferPointer<Float>
  ) -> Float {
    var key = visible.lowerBound
    var lanes = SIMD8<Float>(repeating: -.infinity)
    while key + 8 <= visible.upperBound {
      var x = SIMD8<Float>()
      for lane in 0..<8 { x[lane] = scores[key + lane] }
      lanes = lanes.replacing(with: x, where: x .> lanes)
      key += 8
    }
    var largest = lanes.max()
    for key in key..<visible.upperBound { largest = max(largest, scores[key]) }
    var total = 0.0
    key = visible.lowerBound
    while key + 8 <= visible.upperBound {
      var x = SIMD8<Float>()
      for lane in 0..<8 { x[lane] = scores[key + lane] }
      let mass = exp2(x - largest)
      for lane in 0..<8 {
        total += Double(mass[lane])
        sums[key + lane + 1] = Float(total)
      }
      key += 8
    }
    while key < visible.upperBound {
      total += Double(exp2(SIMD8(repeating: scores[key] - largest))[0])
      sums[key + 1] = Float(total)
      key += 1
    }
    for key in visible.upperBound + 1..<max(sums.count, visible.upperBound + 1) {
      sums[key] = Float(total)
    }
    // A sink beyond the range of Float leaves the keys nothing.
    if let sink { total += pow(2, min(1e3, Double(sink) - Double(largest))) }
    return Float(1 / total)
  }

  /// The share of a row's mass that a sink has.
  private func sinkShare(row: Int) -> Double {
    hasSink ? max(0, 1 - Double(running[(row + 1) * (keys + 1) - 1] * inverse[row])) : 0
  }

  /// 2^x for x <= 0, to 3e-7 of the value; 0 below -126. Plain multiplications and additions: fused
  /// ones are slow library calls where the compiler may not assume them.
  @inline(__always)
  private static func exp2(_ x: SIMD8<Float>) -> SIMD8<Float> {
    // Adding 1.5 * 2^23 rounds to the nearest whole number, which then stands in the low bits.
    let shifted =
      x.clamped(lowerBound: SIMD8(repeating: -126), upperBound: SIMD8(repeating: 0)) + 12_582_912
    let f = x - (shifted - 12_582_912)
    var y = SIMD8<Float>(repeating: 1.535336188319500e-4)
    y = y * f + 1.339887440266574e-3
    y = y * f + 9.618437357674640e-3
    y = y * f + 5.550332471162809e-2
    y = y * f + 2.402264791363012e-1
    y = y * f + 6.931472028550421e-1
    y = y * f + 1
    let bits =
      unsafeBitCast(y, to: SIMD8<UInt32>.self)
      &+ unsafeBitCast(shifted, to: SIMD8<UInt32>.self) &<< 23
    return unsafeBitCast(bits, to: SIMD8<Float>.self)
      .replacing(with: 0, where: x .< SIMD8(repeating: -126))
  }

  /// Share of a row's mass on the keys of a range.
  package func share(row: Int, keys range: Range<Int>) -> Float {
    let base = row * (keys + 1)
    return (running[base + range.upperBound] - running[base + range.lowerBound]) * inverse[row]
  }

  /// Shares of the mass that a row set computes, for the rows `places`, which lie in the grid's chunk.
  ///
  /// O(rows * (runs of a tile row + columns)).
  package func kept(
    _ rowSet: RowSet, on grid: TileGrid, places: some Collection<Int>
  ) -> [Double] {
    kept(rowSet, on: grid, places: places) { _, _, _, _ in }
  }

  /// The same; `visit` gets each place, its runs, the places in the row set's columns that no run
  /// covers, and the share.
  func kept(
    _ rowSet: RowSet, on grid: TileGrid, places: some Collection<Int>,
    visit: (Int, ArraySlice<KeyTileRun>, [Range<Int>], Double) -> Void
  ) -> [Double] {
    guard case .tiles(let tiles) = rowSet else { return places.map { _ in 1 } }
    var result: [Double] = []
    result.reserveCapacity(places.count)
    var single: [Range<Int>] = []
    var lastTileRow = -1
    running.withUnsafeBufferPointer { running in
      tiles.columns.withUnsafeBufferPointer { columns in
        for row in places {
          let position = positions[row]
          let tileRow = position / grid.tile.rows
          let runs = tiles.runs(ofRow: tileRow - grid.tileRows.lowerBound)
          if tileRow != lastTileRow {
            single = Self.uncovered(columns, by: runs, tileColumns: grid.tile.columns)
            lastTileRow = tileRow
          }
          let base = row * (keys + 1)
          var mass = Float(0)
          for run in runs {
            let end = min(Int(run.end) * grid.tile.columns, position + 1)
            let start = min(Int(run.start) * grid.tile.columns, end)
            mass += running[base + end] - running[base + start]
          }
          for gap in single {
            mass += Self.sum(
              UnsafeBufferPointer(rebasing: columns[gap]),
              UnsafeBufferPointer(rebasing: running[base..<base + keys + 1]))
          }
          let share = min(1, Double(mass * inverse[row]) + sinkShare(row: row))
          visit(row, runs, single, share)
          result.append(share)
        }
      }
    }
    return result
  }

  /// Mass of single columns. Four sums, as one would wait for each addition.
  private static func sum(
    _ columns: UnsafeBufferPointer<Int32>, _ running: UnsafeBufferPointer<Float>
  ) -> Float {
    var sums = SIMD4<Float>.zero
    var place = 0
    while place + 4 <= columns.count {
      var (upper, lower) = (SIMD4<Float>(), SIMD4<Float>())
      for lane in 0..<4 {
        let column = Int(columns[place + lane])
        upper[lane] = running[column + 1]
        lower[lane] = running[column]
      }
      sums += upper - lower
      place += 4
    }
    var sum = sums.sum()
    while place < columns.count {
      sum += running[Int(columns[place]) + 1] - running[Int(columns[place])]
      place += 1
    }
    return sum
  }

  /// Places of the columns in no run. The last run ends at the diagonal; columns behind it are not
  /// visible.
  private static func uncovered(
    _ columns: UnsafeBufferPointer<Int32>, by runs: ArraySlice<KeyTileRun>, tileColumns: Int
  ) -> [Range<Int>] {
    func first(from place: Int, atLeast column: Int) -> Int {
      var (low, high) = (place, columns.count)
      while low < high {
        let middle = (low + high) / 2
        if Int(columns[middle]) < column { low = middle + 1 } else { high = middle }
      }
      return low
    }
    var result: [Range<Int>] = []
    var place = 0
    for run in runs where place < columns.count {
      let end = first(from: place, atLeast: Int(run.start) * tileColumns)
      if place < end { result.append(place..<end) }
      place = first(from: end, atLeast: Int(run.end) * tileColumns)
    }
    return result
  }

  /// sums += share * value over the keys; values: [keys, headDim], sums: headDim numbers. `masses` is
  /// room that calls use again.
  func add(
    row: Int, keys range: some Collection<Int>, values: UnsafeBufferPointer<Float>, headDim: Int,
    masses: inout [(key: Int, mass: Float)], to sums: UnsafeMutableBufferPointer<Float>
  ) {
    let base = row * (keys + 1)
    masses.removeAll(keepingCapacity: true)
    running.withUnsafeBufferPointer { running in
      for key in range {
        let mass = running[base + key + 1] - running[base + key]
        if mass > 0 { masses.append((key * headDim, mass * inverse[row])) }
      }
    }
    let bytes = UnsafeRawBufferPointer(values)
    let target = UnsafeMutableRawBufferPointer(sums)
    masses.withUnsafeBufferPointer { masses in
      var d = 0
      // As many sums as registers hold.
      while d + 32 <= headDim {
        var a = target.loadUnaligned(fromByteOffset: 4 * d, as: SIMD16<Float>.self)
        var b = target.loadUnaligned(fromByteOffset: 4 * d + 64, as: SIMD16<Float>.self)
        for (place, mass) in masses {
          let value = 4 * (place + d)
          a += mass * bytes.loadUnaligned(fromByteOffset: value, as: SIMD16<Float>.self)
          b += mass * bytes.loadUnaligned(fromByteOffset: value + 64, as: SIMD16<Float>.self)
        }
        target.storeBytes(of: a, toByteOffset: 4 * d, as: SIMD16<Float>.self)
        target.storeBytes(of: b, toByteOffset: 4 * d + 64, as: SIMD16<Float>.self)
        d += 32
      }
      while d < headDim {
        for (place, mass) in masses { sums[d] += mass * values[place + d] }
        d += 1
      }
    }
  }
}
