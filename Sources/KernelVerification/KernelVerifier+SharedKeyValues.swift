import MInference

/// Keys and values that two sequences have in common.
extension KernelVerifier {
  /// Rows of a sequence that are written: few of a length from which every device shares memory.
  private struct WrittenRows {
    let first: Int
    let keys: [Float]
    let values: [Float]
  }

  mutating func checkSharedKeyValues() {
    for (heads, headDim, capacity) in [(1, 128, 66_000), (2, 128, 70_001)] {
      let width = heads * headDim
      // A copy: the numbers of later checks stay what they were.
      var random = self
      func rows(_ positions: Range<Int>) -> WrittenRows {
        WrittenRows(
          first: positions.lowerBound, keys: random.numbers(positions.count * width),
          values: random.numbers(positions.count * width))
      }
      // Beginnings, the neighbourhood of seven eighths, and the end.
      let cut = capacity - 70
      let common = [0..<40, 8180..<8200, 57_300..<57_380, cut - 20..<cut].map(rows)
      let tails = (0..<2).map { _ in rows(cut..<cut + 50) }
      check(
        "shared keys and values", "\(capacity) positions, \(heads) heads of \(headDim)",
        tolerance: 1e-12
      ) { side in
        let (backend, extents) = (side.backend, [heads, capacity, headDim])
        let options = KeyValueOptions(type: backend.activationType)
        func write(_ rows: WrittenRows, from first: Int, to store: any KeyValueStore) throws {
          let skipped = max(0, first - rows.first)
          let count = rows.keys.count / width - skipped
          guard count > 0 else { return }
          for layer in 0..<store.layers {
            let start = rows.first + skipped
            let opened = try store.open(
              layer: layer, kept: start, count: start + count, for: .prefill)
            let shape = [count, heads, headDim]
            try backend.store(
              k: side.tensor(Array(rows.keys[(skipped * width)...]), shape),
              v: side.tensor(Array(rows.values[(skipped * width)...]), shape), in: opened,
              firstPosition: start)
            try store.close(layer: layer, kept: start, count: start + count)
          }
        }
        func read(_ store: any KeyValueStore) throws -> [Float] {
          var found: [Float] = []
          for layer in 0..<store.layers {
            let end = cut + 50
            let opened = try store.open(layer: layer, kept: end, count: end, for: .transfer)
            for tensor in [opened.keys, opened.values] {
              let all = tensor.reshaped([tensor.shape[0] * tensor.shape[1], headDim])
              for head in 0..<heads {
                for part in common + [tails[0]] {
                  let start = head * tensor.shape[1] + part.first
                  found += try backend.read(
                    all.slice(rows: start..<start + part.keys.count / width))
                }
              }
            }
            try store.close(layer: layer, kept: end, count: end)
          }
          return found
        }
        let first = try backend.makeKeyValueStore(
          layers: 2, extents: extents, options: options, sharing: .possible(common: cut))
        for rows in common { try write(rows, from: 0, to: first) }
        let count = first.shareable(cut)
        let second = try backend.makeKeyValueStore(
          layers: 2, extents: extents, options: options,
          sharing: count > 0 ? .beginning(first, count: count) : .none)
        for rows in common { try write(rows, from: count, to: second) }
        for (rows, store) in zip(tails, [first, second]) { try write(rows, from: 0, to: store) }
        return try [read(first), read(second)]
      }
    }
  }
}
