import Compute
import ComputeCPU
import Testing

@Suite struct `Attention kernels` {
  static let sets = InstructionSet.available

  /// A backend whose tiles can be told, so that both compute the same index.
  static func reference() -> ReferenceBackend { ReferenceBackend() }

  @Test(arguments: sets)
  func `agree with the reference over random shapes, patterns and lengths`(
    set: InstructionSet
  ) throws {
    var random = RandomNumbers(seed: 11)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    for _ in 0..<40 {
      let group = random.pick([1, 2, 3, 4, 8])
      let shape = AttentionShape(
        queryHeads: group * random.pick([1, 2]), keyValueHeads: 1,
        headDim: random.pick([64, 96, 128, 80, 20]))
      let headsKV = shape.queryHeads / group
      let full = AttentionShape(
        queryHeads: shape.queryHeads, keyValueHeads: headsKV, headDim: shape.headDim,
        slidingWindow: random.pick([nil, nil, 1, 7, 50, 1000]))
      let problem = AttentionProblem(
        shape: full, firstPosition: random.pick([0, 0, 1, 31, 32, 64, 131]),
        rows: random.pick([1, 2, 31, 32, 33, 63, 64, 65, 100, 200]),
        type: random.pick([.float32, .bfloat16]), random: &random)
      let tile = cpu.tileShape(headDim: full.headDim)
      let rowSets = (0..<full.queryHeads).map { _ in
        randomRowSet(
          firstPosition: problem.firstPosition, rows: problem.rows, tile: tile, random: &random)
      }
      let index = try TileIndex(
        firstPosition: problem.firstPosition, rows: problem.rows, tile: tile, rowSets: rowSets,
        rowSetOfHead: Array(0..<full.queryHeads))
      let expected = try problem.attention(on: Self.reference(), index: .tiles(index))
      let actual = try problem.attention(
        on: cpu, index: .tiles(index), inPlace: Bool.random(using: &random))
      #expect(relativeError(actual.o, expected.o) < 1e-5)
      #expect(relativeError(actual.lse, expected.lse) < 1e-5)
    }
  }

  @Test(arguments: sets)
  func `compute every column before a run, however many there are`(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 17)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    let shape = AttentionShape(queryHeads: 3, keyValueHeads: 1, headDim: 64)
    let problem = AttentionProblem(shape: shape, firstPosition: 960, rows: 70, random: &random)
    let tile = cpu.tileShape(headDim: 64)
    // Two to ten blocks of keys of single columns, then the diagonal alone or a run on the way.
    let rowSets = [1, 3, 5].map { step in
      RowSet.tiles(
        TileRuns(
          offsets: step == 3 ? [300..<340] : [],
          columns: stride(from: 0, to: 950, by: step).map(Int32.init),
          columnsThatFillTile: tile.columns + 1,
          on: TileGrid(firstPosition: 960, rows: 70, tile: tile)))
    }
    let index = try TileIndex(
      firstPosition: 960, rows: 70, tile: tile, rowSets: rowSets, rowSetOfHead: [0, 1, 2])
    let expected = try problem.attention(on: Self.reference(), index: .tiles(index))
    let actual = try problem.attention(on: cpu, index: .tiles(index))
    #expect(relativeError(actual.o, expected.o) < 1e-5)
    #expect(relativeError(actual.lse, expected.lse) < 1e-5)
  }

  @Test(arguments: sets)
  func `compute a part of the rows of a larger index`(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 3)
    let cpu = try CPUBackend(threads: 1, instructionSet: set)
    let shape = AttentionShape(queryHeads: 3, keyValueHeads: 1, headDim: 64)
    let problem = AttentionProblem(
      shape: shape, firstPosition: 32, rows: 150, random: &random)
    let tile = cpu.tileShape(headDim: 64)
    let index = try TileIndex(
      firstPosition: 32, rows: 150, tile: tile,
      rowSets: [randomRowSet(firstPosition: 32, rows: 150, tile: tile, random: &random)],
      rowSetOfHead: [0, 0, 0])
    let whole = try problem.attention(on: cpu, index: .tiles(index))
    let layer = try problem.layer(on: cpu)
    let part = try problem.queries(on: cpu).slice(rows: 40..<101)
    let o = try cpu.tensor([Float](repeating: .nan, count: part.count), part.shape)
    try cpu.attention(
      q: part, firstPosition: 72, layer: layer, shape: shape, index: .tiles(index), into: o,
      logSumExp: nil)
    #expect(try cpu.read(o) == Array(whole.o[40 * 192..<101 * 192]))
  }

  @Test(arguments: sets)
  func `give a row bit for bit the same, whatever rows are beside it`(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 13)
    for threads in [1, 2] {
      let cpu = try CPUBackend(threads: threads, instructionSet: set)
      for (window, headDim, group) in [(nil, 64, 2), (7, 64, 1), (100, 20, 3), (130, 128, 2)]
        as [(Int?, Int, Int)]
      {
        let shape = AttentionShape(
          queryHeads: group, keyValueHeads: 1, headDim: headDim, slidingWindow: window)
        let rows = 333
        let problem = AttentionProblem(
          shape: shape, firstPosition: 0, rows: rows, type: random.pick([.float32, .bfloat16]),
          random: &random)
        let tile = cpu.tileShape(headDim: headDim)
        func index(from first: Int) throws -> SparseIndex {
          try SparseIndex.dense(
            firstPosition: first, rows: rows - first, heads: group, tile: tile)
        }
        let whole = try problem.attention(on: cpu, index: try index(from: 0))
        let layer = try problem.layer(on: cpu)
        let queries = try problem.queries(on: cpu)
        for first in [332, 330, 326, 320, 319, 300, 130, 33] {
          let part = queries.slice(rows: first..<rows)
          let o = try cpu.tensor([Float](repeating: .nan, count: part.count), part.shape)
          try cpu.attention(
            q: part, firstPosition: first, layer: layer, shape: shape,
            index: try index(from: first), into: o, logSumExp: nil)
          #expect(
            try cpu.read(o) == Array(whole.o[(first * group * headDim)...]),
            "rows from \(first), window \(window ?? 0), heads of \(headDim)")
        }
      }
    }
  }

  @Test(arguments: sets)
  func `attend from a few rows at any positions`(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 5)
    for threads in [1, 2] {
      let cpu = try CPUBackend(threads: threads, instructionSet: set)
      for (group, window, keys) in [(1, nil, 3000), (3, 100, 1500), (4, nil, 1), (20, 5, 77)]
        as [(Int, Int?, Int)]
      {
        let shape = AttentionShape(
          queryHeads: 2 * group, keyValueHeads: 2, headDim: 64, slidingWindow: window)
        let problem = AttentionProblem(
          shape: shape, firstPosition: keys - 1, rows: 1, type: random.pick([.float32, .bfloat16]),
          random: &random)
        let positions = (0..<random.pick([1, 2, 17])).map { _ in
          Int.random(in: 0..<keys, using: &random)
        }
        let q = random.floats(positions.count * 2 * group * 64, in: -4...4)
        func run(_ backend: any Backend) throws -> ([Float], [Float]) {
          let queries = try backend.tensor(q, [positions.count, 2 * group, 64])
          let o = try backend.tensor(q.map { _ in .nan }, queries.shape)
          let lse = try backend.makeTensor(
            .float32, [positions.count, 2 * group], purpose: "test")
          try backend.rowAttention(
            q: queries, positions: positions, layer: try problem.layer(on: backend), shape: shape,
            into: o, logSumExp: lse)
          return (try backend.read(o), try backend.read(lse))
        }
        let expected = try run(Self.reference())
        let actual = try run(cpu)
        #expect(relativeError(actual.0, expected.0) < 1e-5)
        #expect(relativeError(actual.1, expected.1) < 1e-5)
      }
    }
  }

  @Test(arguments: sets)
  func `attend from one row for every number of lanes, head size and end of a block`(
    set: InstructionSet
  ) throws {
    var random = RandomNumbers(seed: 23)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    for group in 1...9 {
      for headDim in [20, 64, 80, 128] {
        for type in [DataType.float32, .bfloat16] {
          let keys = random.pick([1, 31, 32, 33, 63, 64, 65, 100, 1500])
          let shape = AttentionShape(
            queryHeads: 2 * group, keyValueHeads: 2, headDim: headDim,
            slidingWindow: random.pick([nil, nil, 1, 30, 32, 70]))
          let problem = AttentionProblem(
            shape: shape, firstPosition: keys - 1, rows: 1, type: type, random: &random)
          // Rows of two positions share a pass where they are few enough.
          let positions = group < 4 && keys > 1 ? [keys - 1, keys / 2] : [keys - 1]
          let q = random.floats(positions.count * 2 * group * headDim, in: -4...4)
          func run(_ backend: any Backend) throws -> ([Float], [Float]) {
            let queries = try backend.tensor(q, [positions.count, 2 * group, headDim])
            let o = try backend.tensor(q.map { _ in .nan }, queries.shape)
            let lse = try backend.makeTensor(
              .float32, [positions.count, 2 * group], purpose: "test")
            try backend.rowAttention(
              q: queries, positions: positions, layer: try problem.layer(on: backend),
              shape: shape, into: o, logSumExp: lse)
            return (try backend.read(o), try backend.read(lse))
          }
          let expected = try run(Self.reference())
          let actual = try run(cpu)
          #expect(relativeError(actual.0, expected.0) < 1e-5, "\(shape), \(keys) keys")
          #expect(relativeError(actual.1, expected.1) < 1e-5, "\(shape), \(keys) keys")
        }
      }
    }
  }

  @Test(arguments: sets)
  func `sum the last rows' attention over columns and offsets`(set: InstructionSet) throws {
    var random = RandomNumbers(seed: 9)
    let cpu = try CPUBackend(threads: 2, instructionSet: set)
    for (keys, rows) in [
      (1, 1), (5, 5), (64, 64), (65, 64), (700, 64), (9000, 64), (300, 33), (100, 2),
    ] {
      let shape = AttentionShape(
        queryHeads: 6, keyValueHeads: 2, headDim: random.pick([64, 96]),
        slidingWindow: random.pick([nil, 40]))
      let problem = AttentionProblem(
        shape: shape, firstPosition: keys - rows, rows: rows,
        type: random.pick([.float32, .bfloat16]), random: &random)
      let heads = random.pick([[0, 1, 2, 3, 4, 5], [4], [5, 0, 2]])
      func run(_ backend: any Backend) throws -> [LastRowSums] {
        try backend.read(
          backend.lastRowSums(
            q: problem.queries(on: backend), firstPosition: keys - rows,
            layer: problem.layer(on: backend), shape: shape, heads: heads))
      }
      for (actual, expected) in zip(try run(cpu), try run(Self.reference())) {
        #expect(relativeError(actual.vertical, expected.vertical) < 1e-5)
        #expect(relativeError(actual.slash, expected.slash) < 1e-5)
      }
    }
  }

  @Test func `refuse an index for another tile`() throws {
    let cpu = try CPUBackend(threads: 1)
    var random = RandomNumbers(seed: 1)
    let problem = AttentionProblem(
      shape: AttentionShape(queryHeads: 1, keyValueHeads: 1, headDim: 64), firstPosition: 0,
      rows: 64, random: &random)
    let index = try SparseIndex.dense(
      firstPosition: 0, rows: 64, heads: 1, tile: TileShape(rows: 128, columns: 128))
    #expect(throws: ComputeError.self) { try problem.attention(on: cpu, index: index) }
  }

  @Test func `let a NaN in a value reach the output`() throws {
    let cpu = try CPUBackend(threads: 1)
    var random = RandomNumbers(seed: 1)
    var problem = AttentionProblem(
      shape: AttentionShape(queryHeads: 1, keyValueHeads: 1, headDim: 64), firstPosition: 0,
      rows: 40, random: &random)
    problem.q[3 * 64] = .nan
    problem.v[64 * 20 + 7] = .nan
    let index = try SparseIndex.dense(
      firstPosition: 0, rows: 40, heads: 1, tile: cpu.tileShape(headDim: 64))
    let o = try problem.attention(on: cpu, index: index).o
    #expect(o[3 * 64..<4 * 64].filter(\.isNaN).count == 64)
    #expect(o[30 * 64 + 7].isNaN && !o[30 * 64 + 8].isNaN)
  }
}
