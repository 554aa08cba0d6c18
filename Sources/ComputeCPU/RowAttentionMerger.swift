internal import Compute

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Splits the attention of a few rows by key ranges, and joins the ranges' partial softmaxes.
///
/// A lane is one (row, head of the group); 16 lanes share a pass over the keys. With partial maxima
/// m, sums l and outputs o (base 2), the whole is sum(o 2^(m - M)) / sum(l 2^(m - M)), M = max m.
struct RowAttentionMerger {
  struct Piece {
    var keyValueHead: Int
    var laneBlock: Int
    var range: Int
    var lanes: Range<Int>
    var keys: Range<Int>
  }

  private static let lanesAtOnce = 16
  private let shape: AttentionShape
  private let lanes: Int
  private let keys: Int
  private let ranges: Int
  private let laneBlocks: Int

  init(rows: Int, shape: AttentionShape, keys: Int, threads: Int) {
    self.shape = shape
    self.keys = keys
    lanes = rows * shape.groupSize
    laneBlocks = (lanes + Self.lanesAtOnce - 1) / Self.lanesAtOnce
    // A few pieces for each thread even out, but a range should be worth a wake-up.
    let wanted =
      (4 * threads + laneBlocks * shape.keyValueHeads - 1)
      / (laneBlocks * shape.keyValueHeads)
    ranges = threads == 1 ? 1 : max(1, min(wanted, keys / 512))
  }

  var pieces: Int { shape.keyValueHeads * laneBlocks * ranges }

  func piece(_ index: Int) -> Piece {
    let range = index % ranges
    let block = index / ranges % laneBlocks
    let start = block * Self.lanesAtOnce
    return Piece(
      keyValueHead: index / ranges / laneBlocks, laneBlock: block, range: range,
      lanes: start..<min(start + Self.lanesAtOnce, lanes),
      keys: keys * range / ranges..<keys * (range + 1) / ranges)
  }

  private var floatsPerLane: Int { shape.headDim + 2 }

  /// Where the piece's partial results lie: [head][range][lane].
  func offset(of piece: Piece) -> Int {
    offset(head: piece.keyValueHead, range: piece.range, lane: piece.lanes.lowerBound)
  }

  private func offset(head: Int, range: Int, lane: Int) -> Int {
    ((head * ranges + range) * lanes + lane) * floatsPerLane
  }

  func withPartials(_ body: (UnsafeMutablePointer<Float>) throws -> Void) throws {
    let count = shape.keyValueHeads * ranges * lanes * floatsPerLane
    let partials = UnsafeMutablePointer<Float>.allocate(capacity: count)
    defer { partials.deallocate() }
    try body(partials)
  }

  /// output: [rows, queryHeads, headDim]; logSumExp: [rows, queryHeads].
  func merge(
    _ partials: UnsafeMutablePointer<Float>, into output: UnsafeMutablePointer<Float>,
    logSumExp: UnsafeMutablePointer<Float>?
  ) {
    let dim = shape.headDim
    for head in 0..<shape.keyValueHeads {
      for lane in 0..<lanes {
        let parts = (0..<ranges).map { partials + offset(head: head, range: $0, lane: lane) }
        let maximum = parts.reduce(-Float.infinity) {
          $1[1] > 0 || $1[1].isNaN ? max($0, $1[0]) : $0
        }
        let row = lane / shape.groupSize
        let queryHead = head * shape.groupSize + lane % shape.groupSize
        let target = output + (row * shape.queryHeads + queryHead) * dim
        target.update(repeating: 0, count: dim)
        var sum: Float = 0
        for part in parts where part[1] != 0 {
          let factor = exp2f(part[0] - maximum)
          sum += part[1] * factor
          for x in 0..<dim { target[x] += part[2 + x] * factor }
        }
        if sum != 0 {
          for x in 0..<dim { target[x] /= sum }
        }
        logSumExp?[row * shape.queryHeads + queryHead] =
          sum == 0 ? -.infinity : (maximum + log2f(sum)) * Float.ln2
      }
    }
  }
}

extension Float {
  static let ln2: Float = 0.693_147_18
}
