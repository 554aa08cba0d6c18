import Compute

/// The dense outputs of one head's sampled rows as running sums over key tiles, so that the output
/// under any row set is a few differences and the single columns.
///
/// A candidate then costs what its runs and columns cost, not a product with all values: every
/// candidate's error can be measured. O(rows * keys / tile columns * headDim) memory.
struct OutputSums {
  /// Places in the row mass.
  let places: [Int]
  private let headDim: Int
  private let tileColumns: Int
  private let tiles: Int
  /// [row, tiles + 1, headDim]: entry t is the sum of mass * value over the keys of the tiles below t.
  private var running: [Float]
  /// [keys, headDim]
  private let values: [Float]

  /// - Parameter values: [keys, headDim] of the head's key-value head.
  init(_ mass: RowMass, places: [Int], values: [Float], headDim: Int, tileColumns: Int) {
    self.places = places
    self.headDim = headDim
    self.tileColumns = tileColumns
    self.values = values
    let tiles = (mass.keys + tileColumns - 1) / tileColumns
    self.tiles = tiles
    running = [Float](repeating: 0, count: places.count * (tiles + 1) * headDim)
    running.withUnsafeMutableBufferPointer { running in
      values.withUnsafeBufferPointer { values in
        // A group's rows take a tile of values in turn, while it is near.
        let group = 8
        HostThreads.run((places.count + group - 1) / group) { part in
          let rows = part * group..<min(part * group + group, places.count)
          let last = rows.map { mass.positions[places[$0]] / tileColumns }.max() ?? 0
          var masses: [(key: Int, mass: Float)] = []
          for tile in 0..<tiles {
            let keys = tile * tileColumns..<min((tile + 1) * tileColumns, mass.keys)
            for row in rows {
              let start = (row * (tiles + 1) + tile + 1) * headDim
              for d in start..<start + headDim { running[d] = running[d - headDim] }
              guard tile <= last else { continue }
              mass.add(
                row: places[row], keys: keys, values: values, headDim: headDim, masses: &masses,
                to: UnsafeMutableBufferPointer(rebasing: running[start..<start + headDim]))
            }
          }
        }
      }
    }
  }

  /// The dense outputs: [rows, headDim].
  var dense: [Float] {
    places.indices.flatMap { row in
      let start = (row * (tiles + 1) + tiles) * headDim
      return running[start..<start + headDim]
    }
  }

  /// The output of a row under a row set, which keeps the share `kept` of its mass.
  ///
  /// - columns: the row set's columns, of which no run of the row covers those at the places `single`.
  func output(
    row: Int, _ mass: RowMass, runs: ArraySlice<KeyTileRun>, columns: [Int32],
    single: [Range<Int>], kept: Double, masses: inout [(key: Int, mass: Float)]
  ) -> [Float] {
    var result = [Float](repeating: 0, count: headDim)
    result.withUnsafeMutableBufferPointer { result in
      running.withUnsafeBufferPointer { running in
        values.withUnsafeBufferPointer { values in
          let sums = row * (tiles + 1) * headDim
          for run in runs {
            let end = sums + min(Int(run.end), tiles) * headDim
            let start = sums + min(Int(run.start), tiles) * headDim
            for d in 0..<headDim { result[d] += running[end + d] - running[start + d] }
          }
          for gap in single {
            mass.add(
              row: places[row], keys: columns[gap].lazy.map(Int.init), values: values,
              headDim: headDim, masses: &masses, to: result)
          }
          let scale = 1 / max(Float(kept), .leastNormalMagnitude)
          for d in 0..<headDim { result[d] *= scale }
        }
      }
    }
    return result
  }
}
