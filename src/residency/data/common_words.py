"""Words that a tokenizer should know: label names, report language, food, everyday verbs."""

_ENGLISH = """
adipose background debris lymphocytes mucus smooth muscle normal colon mucosa cancer associated
stroma colorectal adenocarcinoma epithelium atelectasis cardiomegaly effusion infiltration mass
nodule pneumonia pneumothorax consolidation edema emphysema fibrosis pleural thickening hernia no
finding actinic keratoses intraepithelial carcinoma basal cell benign keratosis like lesions
dermatofibroma melanoma melanocytic nevi vascular choroidal neovascularization diabetic macular
drusen retinopathy malignant breast basophil eosinophil erythroblast immature granulocytes
myelocytes metamyelocytes promyelocytes lymphocyte monocyte neutrophil platelet bladder femur
heart kidney liver lung pancreas spleen left right head adrenal mild moderate severe proliferative
glaucoma disc cup macula vessel chest x-ray radiograph computed tomography magnetic resonance
ultrasound microscopy pathology dermatoscopy fundus photograph blood smear slice scan image
picture patient findings impression report clear lungs heart size within limits enlarged opacity
lesion tumor present absent acute chronic no evidence of abnormality unremarkable stable increased
decreased bilateral upper lower lobe zone anterior posterior medial lateral fracture bone brain
abdomen pelvis skin eye tissue organ disease diagnosis abnormal healthy positive negative
infection inflammation hemorrhage cyst stone nodules which what where how many does show visible
appear located region area side plane contrast weighted analyze given modality possible answers
are the and with without there is in of on at from to for apple banana bread butter rice noodles
soup salad pizza burger chicken beef pork fish egg cheese cake chocolate coffee tea milk sugar
salt oil tomato potato onion garlic carrot pepper mushroom bean corn grilled fried baked steamed
fresh sauce dish recipe ingredients protein fat carbohydrate calories one two three four five six
seven eight nine ten first second third few several because therefore shape size texture colour
border irregular regular round oval smooth rough uniform asymmetric margin measure grade stage
type class category option answer question letter choose correct true false yes no
"""

_CHINESE = """
肺 心脏 肝脏 肾脏 脾脏 胰腺 膀胱 股骨 左 右 上 下 正常 异常 肺炎 气胸 积液 实变
水肿 纤维化 结节 肿块 肿瘤 良性 恶性 黑色素瘤 视网膜 眼底 皮肤 血液 细胞 淋巴细胞
中性粒细胞 单核细胞 血小板 胸部 腹部 头部 脑 骨折 图像 图片 检查 报告 所见 印象
患者 疾病 诊断 没有 存在 是 否 不是 哪里 什么 多少 哪个 器官 病变 区域 位置 大小
模态 平面 造影 磁共振 超声 计算机断层扫描 X光 显微镜 健康 轻度 中度 重度 食物 水果
蔬菜 米饭 面条 鸡肉 牛肉 鱼
"""

ENGLISH = tuple(_ENGLISH.split())
CHINESE = tuple(_CHINESE.split())
CODES = tuple(sorted({word for word in ENGLISH if len(word) > 5 and "-" not in word}))


def texts() -> list[str]:
    """The words in running order, as they are, capitalised and inside lists."""
    spaced = " ".join(ENGLISH)
    listed = ", ".join(ENGLISH) + "."
    titled = " ".join(word.capitalize() for word in ENGLISH)
    marks = (
        "A. B. C. D. E. F. (a) (b) 1. 2. 3. : ; - / % 0.5 mm cm \n\n Answer: Question: \"\" '' []"
    )
    return [spaced, listed, titled, spaced.upper(), " ".join(CHINESE), "，".join(CHINESE), marks]
