public import Compute

/// Static vertical-slash: the first estimate of a sequence serves all its later chunks.
///
/// The paper's ablation: it shows what is lost when the index does not follow the prompt. Columns
/// and offsets are those of the first chunk that was estimated; keys that came later are reached
/// only by offsets. Upstream keeps the estimate of the first prompt for all later prompts, since its
/// cache hangs on the module; here it belongs to the sequence (``SelectionMemory``). A first chunk
/// that needs no estimate because its budgets take everything keeps nothing.
public enum StaticVerticalSlash {
  /// - Parameter sums: asked for only if the memory holds nothing for the head.
  public static func selection(
    vertical: Int, slash: Int, layer: Int, head: Int, memory: SelectionMemory,
    sums: () -> LastRowSums
  ) -> BandSelection {
    if let kept = memory[layer, head] { return kept }
    let first = VerticalSlash.selection(sums(), vertical: vertical, slash: slash, rule: .kept)
    memory[layer, head] = first
    return first
  }
}
