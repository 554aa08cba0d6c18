/// What static patterns remember of one sequence: the selection of their first estimation.
///
/// Belongs to a sequence, like its key-value cache, and is used by one thread at a time.
public final class SelectionMemory {
  private struct Head: Hashable {
    let layer: Int
    let head: Int
  }

  private var selections: [Head: BandSelection] = [:]

  public init() {}

  /// The selection kept for a head; nil before its first estimation.
  public subscript(layer: Int, head: Int) -> BandSelection? {
    get { selections[Head(layer: layer, head: head)] }
    set { selections[Head(layer: layer, head: head)] = newValue }
  }

  /// Forgets everything, as for a new sequence.
  public func removeAll() { selections.removeAll() }
}
