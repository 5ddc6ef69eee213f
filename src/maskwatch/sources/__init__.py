"""Where frames come from; each module has one public class or function."""
