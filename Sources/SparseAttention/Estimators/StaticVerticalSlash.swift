public import Compute

/// Static vertical-slash: the first estimate of a sequence serves all its later chunks.
///
/// The paper's ablation: it shows what is lost when the index does not follow the prompt. Columns
/// and offsets are those of the first chunk that was estimated; keys that came later are reached
/// only by offsets. Upstream keeps the estimate of the first prompt for all later prompts, since its
/// cache hangs on the module; here it belongs to the sequence (``SelectionMemory``). A first chunk
/// that needs no estimate because its budgets take everything keeps nothing.
public enum StaticVerticalSlash {
  /// - Parameter sums: the chunk's sums, unless the memory holds a selection or the budgets take
  ///   everything.
  /// - Returns: nil if there are neither sums nor a selection: all pairs.
  public static func selection(
    _ sums: LastRowSums?, vertical: Int, slash: Int, layer: Int, head: Int,
    memory: SelectionMemory
  ) -> BandSelection? {
    if let kept = memory[layer, head] { return kept }
    let first = sums.map {
      VerticalSlash.selection($0, vertical: vertical, slash: slash, rule: .kept)
    }
    memory[layer, head] = first
    return first
  }
}
