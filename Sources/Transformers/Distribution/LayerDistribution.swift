public import Compute
public import SparseAttention

/// The layers of a model on several devices: what a ``Transformer`` that holds no layers of its own
/// leaves to them.
///
/// The module Pipeline has the implementations.
public protocol LayerDistribution: AnyObject, Sendable {
  /// One line for each device: its layers, and what it is.
  var stageDescriptions: [String] { get }

  /// What the devices have to tell, see `DeviceOperations.notices`.
  var notices: [String] { get }

  /// An empty cache in parts, each on the device of its layers.
  ///
  /// - Throws: as ``Transformer/makeCache(capacity:keyValues:sequenceLength:chunk:planner:layers:)``.
  func makeCache(
    capacity: Int, keyValues: KeyValueOptions, sequenceLength: Int?, chunk: Int?,
    planner: AttentionPlanner?
  ) throws -> KeyValueCache

  /// Begins to read tokens behind those that the cache holds.
  ///
  /// - Throws: as ``PrefillRun/init(_:_:cache:options:wantsAllRows:)``.
  func makeReading(
    _ ids: [Int32], cache: KeyValueCache, options: PrefillOptions, wantsAllRows: Bool
  ) throws -> any PromptReading

  /// The part of the model that has a layer, with the device that computes it.
  ///
  /// - Throws: what says that the layer is in another process.
  func part(holding layer: Int) throws -> Transformer

  /// Opens a layer of a cache in parts for copying.
  ///
  /// - Throws: as `Transformer.makeTransfer(layer:of:count:for:)`.
  func makeTransfer(
    layer: Int, of cache: KeyValueCache, count: Int, for purpose: KeyValueTransferPurpose
  ) throws -> any KeyValueTransfer

  /// Appends rows of the parts of other caches to the parts of a cache, each on its device.
  ///
  /// - Throws: as `Transformer.append(_:to:)`.
  func append(_ sources: [CachedRows], to target: KeyValueCache) throws

  /// The hidden states behind the last layer, where logits are made, of a token of each of several sequences:
  /// [rows, hidden] of groups of them, in order. The tokens are added to their caches, which are distinct.
  /// Devices work on different groups at the same time.
  ///
  /// - Throws: as ``Transformer/decode(_:cache:)``; nothing is added to any cache then.
  func hiddenStates(of ids: [Int32], caches: [KeyValueCache]) throws -> [Tensor]
}

extension Transformer {
  /// Begins to read tokens behind those that the cache holds, on the model's device or devices.
  ///
  /// - Parameter wantsAllRows: Whether hidden states behind the last layer are wanted in every row.
  /// - Throws: as ``PrefillRun/init(_:_:cache:options:wantsAllRows:)``.
  public func makeReading(
    _ ids: [Int32], cache: KeyValueCache, options: PrefillOptions = PrefillOptions(),
    wantsAllRows: Bool = false
  ) throws -> any PromptReading {
    try requireAllLayers(of: cache)
    if let distribution {
      return try distribution.makeReading(
        ids, cache: cache, options: options, wantsAllRows: wantsAllRows)
    }
    return try PrefillRun(
      self, .tokens(ids), cache: cache, options: options, wantsAllRows: wantsAllRows)
  }

  /// The part of this model that has a layer: its weights, and the device that computes it. The model
  /// itself where one device has all layers.
  ///
  /// - Throws: what says that the layer is in another process.
  package func part(holding layer: Int) throws -> Transformer {
    try distribution?.part(holding: layer) ?? self
  }

  /// Checks that the layers are on this model's own device.
  func requireOneDevice(_ purpose: String) throws {
    guard distribution == nil else {
      throw TransformerError.invalidOption(
        name: "the number of devices", value: "more than one", allowed: "one for \(purpose)")
    }
  }
}
