/// What static patterns remember of one sequence: the selection of their first estimation.
///
/// Belongs to a sequence, like its key-value cache, and is used by one thread at a time.
public final class SelectionMemory {
  /// Everything that is kept, as a value: what one prompt has estimated can be given to others.
  public struct Selections: Sendable, Hashable {
    private struct Head: Hashable {
      let layer: Int
      let head: Int
    }

    private var heads: [Head: BandSelection] = [:]

    public init() {}

    /// The selection kept for a head; nil before its first estimation.
    public subscript(layer: Int, head: Int) -> BandSelection? {
      get { heads[Head(layer: layer, head: head)] }
      set { heads[Head(layer: layer, head: head)] = newValue }
    }
  }

  public var selections: Selections

  /// - Parameter selections: those of another sequence, for the paper's ablation.
  public init(_ selections: Selections = Selections()) {
    self.selections = selections
  }

  /// The selection kept for a head; nil before its first estimation.
  public subscript(layer: Int, head: Int) -> BandSelection? {
    get { selections[layer, head] }
    set { selections[layer, head] = newValue }
  }

  /// Forgets everything, as for a new sequence.
  public func removeAll() { selections = Selections() }
}
