import Compute
import SparseAttention
import Transformers

/// A tensor on its way from one stage to the next.
enum Carried: Sendable {
  /// It is where the next stage computes.
  case tensor(Tensor)
  /// It is under way to another process, under this number.
  case ticket(Int)
}

/// What a cache is to be like.
struct CacheRequest {
  var capacity: Int
  var keyValues: KeyValueOptions
  var sequenceLength: Int?
  var chunk: Int
  var planner: AttentionPlanner?
}

/// What is to be read.
struct ReadingRequest {
  /// The tokens; of the stages behind the first only their number counts.
  var ids: [Int32]
  var options: PrefillOptions
  var wantsAllRows: Bool
  /// Gets the stage's progress, 0 to 1.
  var progress: @Sendable (Double) throws -> Void
}

/// A stage as the pipeline drives it: on a device of this process, or in another process.
///
/// Called on the stage's own thread, but for caches and the beginning of a reading.
protocol StageRunner: AnyObject, Sendable {
  /// "cuda:1, layers 16..<32"
  var name: String { get }
  var layers: Range<Int> { get }
  /// How hidden states leave the stage; nil for the last one.
  var outletName: String? { get }
  var notices: [String] { get }

  /// How a sequence would use the stage's memory; nil where the device has none of its own.
  func plan(_ request: CacheRequest) throws -> KeyValueOptions?

  /// An empty cache for the stage's layers.
  func makeCache(_ request: CacheRequest) throws -> KeyValueCache

  /// Begins to read.
  func makeReading(
    _ request: ReadingRequest, cache: KeyValueCache, stage: Int
  ) throws -> any StageReading

  /// Whether tokens of several sequences can pass through the stage together.
  func canPassTogether(_ caches: [KeyValueCache]) -> Bool

  /// Passes a token of each of one or several sequences through the stage's layers and sends their hidden states
  /// on. `input`: what the stage before sent; nil for the first one, which embeds `ids`.
  func pass(tokens ids: [Int32], _ input: Carried?, caches: [KeyValueCache]) throws -> Carried

  /// Opens one of the stage's layers for copying; see `Transformer.makeTransfer(layer:of:count:for:)`.
  func makeTransfer(
    layer: Int, of cache: KeyValueCache, count: Int, for purpose: KeyValueTransferPurpose
  ) throws -> any KeyValueTransfer

  /// Appends rows of other caches to one; see `Transformer.append(_:to:)`.
  func append(_ sources: [CachedRows], to target: KeyValueCache) throws

  /// Drops what the stage before sent and nobody wants any longer.
  func discard(_ carried: Carried)
}

/// One prompt in one stage.
protocol StageReading: AnyObject {
  /// Where the prompt is cut.
  var chunks: [Range<Int>] { get }
  /// Complete after ``finish()``.
  var report: PrefillReport { get }

  /// Passes a chunk through the stage's layers and sends its hidden states on.
  ///
  /// - Parameters:
  ///   - input: What the stage before sent; nil for the first one.
  ///   - isStopped: Whether another stage has failed; asked now and then.
  ///   - sends: Called before hidden states are sent, with their bytes.
  /// - Throws: `CancellationError` once `isStopped` says so; what the stage fails with.
  func pass(
    chunk: Int, _ input: Carried?, isStopped: () -> Bool, sends: (_ byteCount: Int) -> Void
  ) throws -> Carried

  /// Waits for the device once all chunks have passed.
  func finish() throws

  /// Ends the reading, whether it is complete or not. No chunk is in the stage.
  ///
  /// - Parameter chunk: The first one that does not stay, and of which static patterns forget what they
  ///   kept; nil: all stay.
  func end(forgettingFrom chunk: Int?)
}
