"""Words of names and statuses in Chinese, Japanese, Korean and Thai, and the English word for each.

A name is read only where all of it is known: a sign for `not` that was left out would turn its meaning.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = {
    # Numbers of things
    "id": "番号 编号 編號 号 號 号码 號碼 單號 单号 代码 代碼 编码 コード 번호 코드 รหัส เลขที่ หมายเลข",
    "order": "注文 ご注文 受注 下单 下單 オーダー 订单 訂單 주문 คำสั่งซื้อ ออเดอร์",
    "receipt": "レシート 领収书 領収書 伝票 收据 收據 小票 영수증 전표 ใบเสร็จ",
    "invoice": "請求書 请求书 发票 發票 송장 ใบแจ้งหนี้",
    "transaction": "取引 交易 流水 거래 ธุรกรรม",
    "line": "行 明細 明细 행",
    "item": "項目 项目",
    # What sales have
    "date": "日 日付 日期 年月日 날짜 일자 일 วันที่",
    "datetime": "日時 日时 일시 วันเวลา",
    "time": "時間 時刻 时间 시간 시각 เวลา",
    "sales": "売上 売上高 販売額 销售额 銷售額 销售金额 銷售金額 营业额 매출 매출액 판매액 판매금액 ยอดขาย",
    "sale": "販売 销售 銷售 판매 ขาย การขาย",
    "purchase": "購入 购买 購買 구매 ซื้อ",
    "customer": "顧客 お客様 得意先 会員 客户 客戶 顾客 会员 會員 고객 회원 ลูกค้า",
    "store": "店舗 支店 门店 門市 店铺 店鋪 매장 지점 점포 สาขา ร้าน",
    "register": "レジ 收银台 포스",
    "staff": "担当者 店員 店员 员工 直원 직원 담당자 พนักงาน",
    "currency": "通貨 货币 币种 幣別 통화 สกุลเงิน",
    "status": "状態 ステータス 状态 狀態 상태 สถานะ",
    "type": "種別 タイプ 类型 類型 유형 ประเภท",
    "payment": "支払 支払い 支付 付款 결제 지불 ชำระเงิน การชำระเงิน",
    "method": "方法 方式 수단 방법 วิธี วิธีการ ช่องทาง",
    "email": "メール メールアドレス 邮箱 電子郵件 이메일 อีเมล",
    "phone": "電話 電話番号 电话 手机号 手機 전화번호 연락처 เบอร์โทร โทรศัพท์",
    "name": "名 名前 氏名 名称 名稱 姓名 이름 명 ชื่อ",
    # What lines have
    "product": "商品 製品 品 产品 產品 상품 제품 품목 สินค้า",
    "productname": "商品名 製品名 品名 商品名称 商品名稱 产品名称 產品名稱 상품명 제품명 품명 ชื่อสินค้า",
    "category": "カテゴリ カテゴリー 分類 类别 類別 分类 카테고리 분류 หมวดหมู่",
    "subcategory": "サブカテゴリ サブカテゴリー 子类别",
    "quantity": "数量 個数 點数 点数 數量 件数 수량 개수 จำนวน",
    "unitprice": "単価 单价 單價 단가 ราคาต่อหน่วย ราคาต่อชิ้น",
    "price": "価格 价格 價格 售价 售價 판매가 가격 ราคา",
    "amount": "金額 金额 금액 จำนวนเงิน",
    "total": "合計 総額 合计 总额 總額 总价 總價 총액 합계 รวม ยอดรวม รวมทั้งหมด",
    "totalamount": "合計金額 总金额 總金額 订单金额 訂單金額 총금액 결제금액 주문금액",
    "discount": "割引 値引 値引き 折扣 优惠 할인 ส่วนลด",
    "rate": "率 율 률",
    "tax": "税 税額 税额 稅額 消費税 税金 세금 부가세 ภาษี",
    "gross": "税込 含税 税込み 含稅",
    "net": "税抜 不含税 未税 税抜き 未稅",
    "shipping": "送料 配送料 运费 運費 배송비 ค่าจัดส่ง ค่าส่ง",
    # What is none of a sale's
    "ship": "出荷 発送 配送 发货 發貨 출하 배송 จัดส่ง",
    "mode": "モード",
    "profit": "利益 利润 利潤 이익 กำไร",
    "cost": "原価 成本 원가 ต้นทุน",
    "return": "返品 退货 退貨 반품 คืนสินค้า",
    "refund": "返金 退款 환불 คืนเงิน",
    "city": "市区町村 城市 도시",
    "state": "都道府県 省 省份",
    "country": "国 国家 國家 국가 ประเทศ",
    "region": "地域 地区 地區 지역 ภูมิภาค",
    "segment": "区分 顧客区分",
    "address": "住所 地址 주소 ที่อยู่",
    "stock": "在庫 库存 庫存 재고 สต็อก",
    "jpy": "円 日元 日圓",
    "krw": "원",
    "cny": "人民币",
    "thb": "บาท",
    # Statuses
    "completed": "完了 已完成 完成 완료 เสร็จสิ้น สำเร็จ",
    "paid": "支払済 支払い済み 入金済 已支付 已付款 결제완료 ชำระแล้ว ชำระเงินแล้ว",
    "shipped": "出荷済 出荷済み 発送済み 发送済 已发货 已發貨 배송중 จัดส่งแล้ว",
    "delivered": "配達済み 配達完了 已送达 已签收 배송완료",
    "cancelled": "キャンセル キャンセル済み 取消 已取消 취소 취소됨 ยกเลิก ยกเลิกแล้ว",
    "refunded": "返金済み 已退款 환불완료 คืนเงินแล้ว",
    "returned": "返品済み 已退货 已退貨 반품완료",
    "pending": "保留 保留中 待付款 待支付 未払い 未支付 未付款 대기 รอดำเนินการ รอชำระเงิน",
    # Payments
    "cash": "現金 现金 現鈔 현금 เงินสด",
    "card": "カード クレジットカード 信用卡 銀行卡 银行卡 카드 신용카드 บัตรเครดิต",
}
_ENGLISH: Final = {own: english for english, known in _WORDS.items() for own in known.split()}
_ANY: Final = "|".join(map(re.escape, sorted(_ENGLISH, key=len, reverse=True)))
_RUN: Final = re.compile(r"[\u0e00-\u0e7f\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_WORD: Final = re.compile(_ANY)
_KNOWN: Final = re.compile(f"(?:{_ANY})+")


def in_english(name: str) -> str:
    """A name with its words in English, where all of those in these scripts are known; else the name."""
    runs = _RUN.findall(name)
    if not runs or not all(_KNOWN.fullmatch(run) for run in runs):
        return name
    return _RUN.sub(lambda run: f" {_words(run.group())} ", name)


def _words(run: str) -> str:
    found = _WORD.findall(run)
    return " ".join(_ENGLISH[word] for word in found) if "".join(found) == run else run
