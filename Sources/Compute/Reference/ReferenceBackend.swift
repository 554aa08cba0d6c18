/// The reference backend: every operation of ``Backend`` as its definition reads, on host memory.
///
/// It is what the other backends are tested against, so it is kept so plain that reading it is
/// enough to believe it. It deliberately does not
/// - run in parallel, use SIMD, tiles of work, blocking or fused operations;
/// - avoid work: attention asks of every pair (i, j) whether the index computes it;
/// - use an online softmax: the largest score is found first, then the exponentials are summed;
/// - round on the way: all arithmetic is in Double, and a result is rounded once, to the type of the
///   tensor that it is stored in;
/// - keep anything between two calls, or write into a tensor before the whole result is known.
public final class ReferenceBackend: HostSampling, SeparateDecoding, Backend {
  public let name = "reference"
  public var properties: [DeviceProperty] { [] }
  public let notices: [String] = []
  public let capabilities: DeviceCapabilities
  public let fallback = HostFallback()

  /// - Parameters:
  ///   - tile: the tile that it asks for; any shape gives the same dense results.
  ///   - activationType: what results are rounded to: float32, or bfloat16 for what a device that
  ///     stores this should compute.
  public init(
    tile: TileShape = TileShape(rows: 64, columns: 64), activationType: DataType = .float32
  ) {
    capabilities = DeviceCapabilities(
      activationType: activationType, weightFormats: DeviceCapabilities.allWeightFormats,
      tile: tile, rowBlock: 2048, hasUnifiedMemory: true)
  }

  public var hostOperations: [HostFallback.Operation] { fallback.operations }

  public func requireSupport(of shape: AttentionShape, widths: [Int]) {}
  public func availableMemory() -> (device: Int, host: Int)? { nil }
  public func finish() {}
  public func limitWorkAhead() {}
  public func makeStopwatch() -> any WorkStopwatch { HostStopwatch() }

  public func makeKeyValueStore(
    layers: Int, extents: [Int], options: KeyValueOptions, sharing: KeyValueSharing
  ) throws -> any KeyValueStore {
    guard options.type == .float8 else {
      return try TensorKeyValueStore(
        layers: layers, extents: extents, options: options, sharing: sharing, backend: self)
    }
    return try ReferenceFloat8Store(layers: layers, extents: extents, backend: self)
  }
}

/// Throws ``ComputeError/shapeMismatch(operation:detail:)`` unless `condition` holds.
func require(_ condition: Bool, _ operation: String, _ detail: @autoclosure () -> String) throws {
  if !condition { throw ComputeError.shapeMismatch(operation: operation, detail: detail()) }
}
