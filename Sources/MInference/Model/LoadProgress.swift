/// How far the loading of a model is.
public enum LoadProgress: Sendable, Hashable {
  /// The share of the weights that were read and checked, 0 to 1.
  case weights(Double)
  /// In words: something is made ready that takes seconds and happens once for a machine, such as the
  /// kernels of a GPU. Also told after loading, when something is needed for the first time.
  case preparation(String)
}

/// Told how far loading is, on the thread that loads or computes.
public typealias LoadProgressHandler = @Sendable (LoadProgress) -> Void
