internal import CUDASources
public import Compute

/// Estimation, selection and building of an index for all heads of a layer, on the device from
/// beginning to end (`estimation.cu`, `selection.cu`, `plan.cu`, `pooling.cu`).
extension CUDABackend {
  public func makeIndex(_ request: IndexRequest) throws -> SparseIndex {
    let chunk = request.chunk
    let heads = chunk.shape.queryHeads
    try require(
      request.heads.count == heads && chunk.rows > 0 && chunk.firstPosition >= 0
        && chunk.keys <= chunk.layer.count, "makeIndex",
      "\(request.heads.count) heads of \(heads), \(chunk.keys) of \(chunk.layer.count) keys")
    for (index, head) in request.heads.enumerated() {
      let isSupported =
        switch head {
        case .scored(.lastRows, .blocks), .scored(.pooledMeans, .bandsAndColumns),
          .scored(.pooledMeans, .blocks(.share)):
          false
        case .dense, .bands, .scored, .chosenBlocks:
          request.estimatedBands(index).map { $0.columns.share == $0.offsets.share } ?? true
        }
      guard isSupported else {
        throw ComputeError.unavailable(
          what: "an index of \(head) on the device \(name)", remedy: "select it on the host")
      }
    }
    let purpose = "an index over \(chunk.keys) keys"
    let build = try Building(request, backend: self, purpose: purpose)
    try build.planEstimated()
    try build.planFixed()
    try build.planBlocks()
    try build.planChosenBlocks()
    return .resident(
      CUDAIndex(
        plans: build.plans, counts: build.pairs, lists: build.lists,
        mostColumns: build.mostColumns, heads: heads, grid: build.grid, backend: self))
  }

  /// The pieces of an index while it is made.
  final class Building {
    let request: IndexRequest
    var chunk: ChunkInputs { request.chunk }
    let backend: CUDABackend
    let purpose: String
    /// [queryHeads] HeadPlan; zeros are dense.
    let plans: Tensor
    /// [queryHeads][2] 64-bit counts of pairs.
    let pairs: Tensor
    let grid: TileGrid
    private let bands: Tensor
    private let starts: Tensor
    private let steps: Tensor
    /// What plans point to.
    var lists: [Tensor]
    /// [heads][most] columns of estimated heads, and [heads][2] their numbers first.
    private(set) var estimatedColumns: (columns: Tensor, counts: Tensor)?
    /// [heads][stride]: the last rows' mass on every column, where a head's bands are the alternative to its blocks.
    private(set) var columnSums: Tensor?
    /// The most columns that any head asks for.
    private(set) var mostColumns = 0

    init(_ request: IndexRequest, backend: CUDABackend, purpose: String) throws {
      self.request = request
      self.backend = backend
      self.purpose = purpose
      let heads = request.heads.count
      plans = try backend.uploaded(
        [mi_head_plan](repeating: mi_head_plan(), count: heads), purpose: purpose)
      let chunk = request.chunk
      grid = TileGrid(
        firstPosition: chunk.firstPosition, rows: chunk.rows,
        tile: backend.tileShape(headDim: chunk.shape.headDim),
        slidingWindow: chunk.shape.slidingWindow)
      let causal = grid.causalPairs
      pairs = try backend.uploaded(
        (0..<heads).flatMap { _ in [Int64(causal), 0] }, purpose: purpose)
      // Starts of bands lie at least a tile apart: two covers, two steps a band, and a byte for each tile and
      // two behind.
      let mostBands = EstimatedIndexSizes(keys: chunk.keys).mostBands
      bands = try backend.makeTensor(.int32, [heads, 2 * mostBands], purpose: purpose)
      starts = try backend.makeTensor(.int32, [heads, (mostBands + 5) / 4], purpose: purpose)
      steps = try backend.makeTensor(.int32, [heads, 2 * mostBands], purpose: purpose)
      lists = [bands, starts, steps]
    }

    private func parameters() throws -> mi_plan_parameters {
      var parameters = mi_plan_parameters()
      parameters.plans = try backend.address(plans, "makeIndex")
      parameters.pairs = try backend.address(pairs, "makeIndex")
      parameters.bands = try backend.address(bands, "makeIndex")
      parameters.starts = try backend.address(starts, "makeIndex")
      parameters.steps = try backend.address(steps, "makeIndex")
      parameters.bands_stride = Int32(bands.rowCount / 2)
      parameters.starts_stride = Int32(4 * starts.rowCount)
      parameters.rows = Int32(chunk.rows)
      parameters.first_position = Int32(chunk.firstPosition)
      parameters.window = Int32(clamping: chunk.shape.slidingWindow ?? .max)
      parameters.column_cost = Float(request.columnCost)
      parameters.exact = request.exact ? 1 : 0
      // The kernel with fp8 operands reads keys in blocks that are rounded beforehand.
      parameters.aligned = !request.freeBands || backend.attentionPrecision == .fp8 ? 1 : 0
      return parameters
    }

    private func launch(_ name: String, _ parameters: mi_plan_parameters) throws {
      var arguments = KernelArguments()
      arguments.add(parameters)
      try backend.kernel(name, in: "plan.cu").launch(
        grid: (request.heads.count, 1, 1), block: SelectionLaunch.threads, arguments)
    }

    /// Heads whose columns and offsets are estimated from the last rows, for themselves or as the alternative to
    /// blocks.
    func planEstimated() throws {
      let budgets = request.heads.indices.map { head -> mi_head_budget in
        if let bands = request.estimatedBands(head) {
          return mi_head_budget(
            vertical: Int32(min(bands.columns.least, chunk.keys)),
            slash: Int32(min(bands.offsets.least, chunk.keys)), wanted: 1,
            share: bands.columns.share)
        }
        guard let chosen = request.chosenHead(head), chosen.columns > 0 else {
          return mi_head_budget()
        }
        // Beside heads with offsets its bands are made in vain: the plan of its blocks takes their place.
        return mi_head_budget(
          vertical: Int32(min(chosen.columns, chunk.keys)), slash: 1, wanted: 1, share: 0)
      }
      let hasOffsets = request.heads.indices.contains { request.estimatedBands($0) != nil }
      guard budgets.contains(where: { $0.wanted != 0 }) else { return }
      let wanted = try backend.uploaded(budgets, purpose: purpose)
      let sums = try backend.sums(
        q: chunk.lastRows, firstPosition: chunk.keys - chunk.lastRows.rows,
        layer: chunk.layer, shape: chunk.shape, budgets: wanted)
      // How many hold a share shows on the device alone: there is room for all.
      let all = budgets.contains { $0.share > 0 } ? chunk.keys : 1
      let most = budgets.reduce(all) { max($0, Int($1.vertical)) }
      mostColumns = max(mostColumns, most)
      let columns = try backend.makeTensor(
        .int32, [budgets.count, most], purpose: purpose)
      let mostOffsets = budgets.reduce(all) { max($0, Int($1.slash)) }
      let offsets = try backend.makeTensor(
        .int32, [budgets.count, mostOffsets], purpose: purpose)
      let counts = try backend.makeTensor(.int32, [budgets.count, 2], purpose: purpose)
      var selection = mi_selection_parameters()
      selection.vertical = try backend.address(sums.vertical, "makeIndex")
      selection.slash = try backend.address(sums.slash, "makeIndex")
      selection.budgets = try backend.address(wanted, "makeIndex")
      selection.columns = try backend.address(columns, "makeIndex")
      selection.counts = try backend.address(counts, "makeIndex")
      selection.offsets = try backend.address(offsets, "makeIndex")
      selection.sum_stride = Int64(sums.stride)
      selection.keys = Int32(chunk.keys)
      selection.maximum_columns = Int32(most)
      selection.maximum_offsets = Int32(mostOffsets)
      selection.forced_columns = Int32(request.forcedColumns)
      selection.forced_offsets = Int32(request.forcedOffsets)
      // Every row's mass is 1.
      selection.mass_unit = 1_073_741_824 / Float(chunk.lastRows.rows)
      var arguments = KernelArguments()
      arguments.add(selection)
      try backend.kernel("select_columns_and_offsets", in: "selection.cu").launch(
        grid: (budgets.count, hasOffsets ? 2 : 1, 1), block: SelectionLaunch.threads, arguments)
      if hasOffsets {
        var plan = try parameters()
        plan.columns = selection.columns
        plan.offsets = selection.offsets
        plan.counts = selection.counts
        plan.budgets = selection.budgets
        plan.maximum_columns = Int32(most)
        plan.maximum_offsets = Int32(mostOffsets)
        try launch("plan_bands", plan)
      }
      // Memory goes back to the pool behind the launches that use it, not before.
      withExtendedLifetime((sums, wanted, offsets)) {}
      lists += [columns, counts]
      estimatedColumns = (columns, counts)
      if chunk.deviceEstimates.blockChoices.contains(where: \.request.hasAlternatives) {
        columnSums = sums.vertical
      }
    }

    /// Heads whose columns and offsets are known.
    func planFixed() throws {
      var ranges: [Int32] = []
      var columns: [Int32] = []
      let bands = request.heads.map { head -> mi_fixed_bands in
        guard case .bands(let offsets, let singles, let denseFrom) = head else {
          return mi_fixed_bands()
        }
        let band = mi_fixed_bands(
          wanted: 1, range_start: Int32(ranges.count / 2), range_count: Int32(offsets.count),
          column_start: Int32(columns.count), column_count: Int32(singles.count),
          dense_from: Int32(clamping: denseFrom ?? .max), padding: (0, 0))
        ranges += offsets.flatMap {
          [Int32(clamping: $0.lowerBound), Int32(clamping: $0.upperBound)]
        }
        columns += singles
        mostColumns = max(mostColumns, singles.count)
        return band
      }
      guard bands.contains(where: { $0.wanted != 0 }) else { return }
      let lists = [
        try backend.uploaded(bands, purpose: purpose),
        try backend.uploaded(ranges, purpose: purpose),
        try backend.uploaded(columns, purpose: purpose),
      ]
      var plan = try parameters()
      plan.fixed = try backend.address(lists[0], "makeIndex")
      plan.ranges = try backend.address(lists[1], "makeIndex")
      plan.columns = try backend.address(lists[2], "makeIndex")
      try launch("plan_fixed", plan)
      self.lists += lists
    }
  }
}

extension IndexRequest.Rule {
  /// So many at least, and the share that more of them have to hold; 0: none.
  fileprivate var least: Int {
    switch self {
    case .count(let count): count
    case .share(_, let least): least
    }
  }

  fileprivate var share: Float { if case .share(let share, _) = self { share } else { 0 } }
}

/// Geometry of `selection.cu` and `plan.cu`.
package enum SelectionLaunch {
  static let threads = 1024
  /// As `plan.cu` has them.
  package static let bandTimes = BandCover.Times(product: 43, load: 61)
}
