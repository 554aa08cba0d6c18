import TextReports
package import MInference

/// How fast the kernels of a device are: those that move bytes beside a copy, products beside a bare
/// one of the device's library.
package struct KernelSpeed {
  package struct Row: Sendable {
    package var kernel: String
    package var work: String
    package var seconds: Double
    /// Bytes read and written at least, or operations, a second.
    package var rate: Double
    /// Whether ``rate`` counts operations.
    package var isArithmetic: Bool
    /// Of the rate of what it is measured beside: a copy, or the fastest bare bfloat16 product of that
    /// shape; nil for those themselves.
    package var share: Double?
  }

  /// Sizes of an 8B model.
  static let hidden = 4096
  static let intermediate = 14336

  let device: any SyntheticBackend
  let rows: Int
  let repetitions: Int
  private(set) var table: [Row] = []
  private var copyRate = 0.0
  private var seed: UInt64 = 40

  /// Every kernel over `rows` rows; medians of `repetitions` after a run to warm up.
  ///
  /// - Parameters:
  ///   - narrow: The same device with linear layers in eight bits, if it has them.
  ///   - onlyExperts: Leave out all but mixtures of experts.
  /// - Throws: `ComputeError.unavailable` on a device that cannot copy.
  package static func measure(
    _ backend: any Backend, narrow: (any Backend)? = nil, rows: Int, repetitions: Int = 10,
    onlyExperts: Bool = false
  ) throws -> [Row] {
    guard let device = backend as? any SyntheticBackend else {
      throw ComputeError.unavailable(
        what: "the speed of single kernels on \(backend.name)", remedy: "use bench attention")
    }
    var speed = KernelSpeed(device: device, rows: rows, repetitions: repetitions)
    if onlyExperts {
      try speed.measureCopy()
    } else {
      try speed.measureCopies()
      try speed.measureSampling()
      try speed.measureProducts()
    }
    try speed.measureExperts()
    if let narrow = narrow as? any SyntheticBackend {
      let bare = speed.table.filter { $0.kernel == bareName }
      speed = KernelSpeed(
        device: narrow, rows: rows, repetitions: repetitions, table: speed.table,
        copyRate: speed.copyRate)
      if !onlyExperts { try speed.measureNarrow(bare: bare) }
      try speed.measureExperts(bare: bare)
    }
    return speed.table
  }

  private init(
    device: any SyntheticBackend, rows: Int, repetitions: Int, table: [Row] = [],
    copyRate: Double = 0
  ) {
    self.device = device
    self.rows = rows
    self.repetitions = repetitions
    self.table = table
    self.copyRate = copyRate
  }

  mutating func random(_ shape: [Int], _ type: DataType = .bfloat16) throws -> Tensor {
    seed += 1
    return try device.makeRandom(type, shape, deviation: 1, seed: seed, purpose: "measuring")
  }

  /// Median times of bodies that take turns, so that what slows the device slows all of them.
  ///
  /// Each comes behind a copy, as a layer's calls come behind those before: the device is busy while the host
  /// gives the calls, and the time between two marks is the device's alone.
  func medians(_ bodies: [() throws -> Void]) throws -> [Double] {
    let busy = try (0..<2).map { _ in
      try device.makeTensor(.bfloat16, [16384, Self.hidden], purpose: "keeping the device busy")
    }
    var times = bodies.map { _ in [Double]() }
    for _ in 0...repetitions {
      for (number, body) in bodies.enumerated() {
        let watch = device.makeStopwatch()
        try device.copy(busy[0], to: busy[1])
        try watch.time(body)
        times[number].append(watch.seconds)
      }
    }
    return times.map { $0.dropFirst().sorted()[repetitions / 2] }
  }

  /// A kernel that moves bytes.
  ///
  /// - Parameter calls: So many follow each other, and the time is of one of them: behind a copy, the first one
  ///   of a kernel that only reads also waits for what the copy left in the cache to be written back.
  mutating func add(
    _ kernel: String, _ work: String, bytes: Double, calls: Int = 1, _ body: () throws -> Void
  ) throws {
    let seconds = try withoutActuallyEscaping(body) { body in
      try medians([{ for _ in 0..<calls { try body() } }])[0] / Double(calls)
    }
    let rate = bytes / seconds
    if kernel == "copy" { copyRate = rate }
    table.append(
      Row(
        kernel: kernel, work: work, seconds: seconds, rate: rate, isArithmetic: false,
        share: kernel == "copy" ? nil : rate / copyRate))
  }

  /// A product, whose bare counterpart takes `bare` seconds; nil for that itself.
  mutating func add(
    _ kernel: String, _ work: String, operations: Double, seconds: Double, bare: Double?
  ) {
    table.append(
      Row(
        kernel: kernel, work: work, seconds: seconds, rate: operations / seconds,
        isArithmetic: true, share: bare.map { $0 / seconds }))
  }

  package static func table(_ rows: [Row]) -> String {
    var table = TextTable(
      header: ["kernel", "work", "time", "rate", "of a copy or bare product"])
    for row in rows {
      table.append([
        row.kernel, row.work, Quantity.seconds(row.seconds),
        row.isArithmetic
          ? Quantity.fixed(row.rate / 1e12, 1) + " TFLOP/s"
          : Quantity.fixed(row.rate / 1e9, 0) + " GB/s",
        row.share.map { Quantity.percent($0) } ?? "",
      ])
    }
    return table.text
  }
}
